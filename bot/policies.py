"""The policy in force: read again on SIGHUP; a broken file keeps the one before it, and says so."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from agent.errors import ConfigurationError
from agent.policy import Policy

_log = structlog.get_logger(__name__)


class Policies:
    """Holds the policy; every rating and every click asks for it anew."""

    def __init__(self, load: Callable[[], Policy]) -> None:
        self._load = load
        self._current = load()
        self.problem = ""
        """Why the file is not the policy in force, one sentence with its fix; empty when it is."""
        self.told: Callable[[str, str], None] = _nobody
        """Told of each reload: the version in force and the problem."""

    def __call__(self) -> Policy:
        """The policy in force."""
        return self._current

    def reload(self) -> bool:
        """Read the file again; False, with the old policy in force, when it is not usable or names nobody."""
        try:
            loaded = _with_people(self._load())
        except ConfigurationError as error:
            self.problem = f"{error} {error.fix}".strip()
            _log.error("policy_not_reloaded", problem=self.problem, policy=self._current.version)
        except Exception as error:  # noqa: BLE001  whatever it is, the old policy stays and the server lives
            self.problem = f"The policy could not be read ({type(error).__name__})."
            _log.exception("policy_not_reloaded", policy=self._current.version)
        else:
            before, self._current, self.problem = self._current.version, loaded, ""
            _log.info("policy_reloaded", before=before, policy=loaded.version)
        self.told(self._current.version, self.problem)
        return not self.problem


def _with_people(policy: Policy) -> Policy:
    """The policy when it names somebody who may decide; raises ConfigurationError."""
    if not policy.people.approvers and not any(rule.text.deciders for rule in policy.own):
        raise ConfigurationError("Nobody may approve anything.", fix="Name at least one of `approvers`.")
    return policy


def _nobody(version: str, problem: str) -> None:
    del version, problem
