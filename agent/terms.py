"""Who may decide on an action and how: what the matching rules say, put together so that the stricter wins."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from agent.domain import Principal, Terms, Value
from agent.policy_text import Limits, People, RuleText


class Scope(Value):
    """What a registered approver's scope is compared with."""

    tool: str = ""
    channel: str = ""
    tier: str = ""


class Directory(Protocol):
    """Who belongs to a group now; whoever cannot tell says nobody."""

    def members(self, group: str) -> frozenset[str]:
        """Slack user ids of a user group's members."""
        ...

    def registered(self, scope: Scope) -> tuple[str, ...]:
        """Slack user ids or principal keys of those whom the registry of approvers names for this at this moment."""
        ...


class Nobody:
    """A directory without groups and registry."""

    def members(self, group: str) -> frozenset[str]:
        """Nobody."""
        del group
        return frozenset()

    def registered(self, scope: Scope) -> tuple[str, ...]:
        """Nobody."""
        del scope
        return ()


def terms_of(rules: Iterable[RuleText], people: People, limits: Limits) -> Terms:
    """The terms that these rules set together: the most yeses, the shortest time, everybody's reasons."""
    setting = [rule for rule in rules if rule.sets_terms]
    timeouts = [rule.timeout_s for rule in setting if rule.timeout_s is not None]
    selves = [set(rule.self_approve) for rule in setting if rule.self_approve is not None]
    allowed = set(people.self_approve) if not selves else set[str].intersection(*selves)
    return Terms(
        rules=tuple(rule.name for rule in setting),
        deciders=tuple(dict.fromkeys(rule.deciders for rule in setting if rule.deciders)),
        quorum=max([limits.quorum, *(rule.quorum for rule in setting if rule.quorum is not None)]),
        timeout_s=min(timeouts) if timeouts else limits.approval_timeout_s,
        escalate_to=tuple(dict.fromkeys(one for rule in setting for one in rule.escalate_to)),
        reason_for=tuple(sorted({one for rule in setting for one in rule.reason})),
        self_approve=tuple(sorted(allowed)),
    )


def resolve(
    references: Sequence[str], people: People, team: str, directory: Directory, scope: Scope | None = None
) -> tuple[str, ...]:  # fmt: skip
    """The principal keys that references stand for now, in their order, each once."""
    keys: dict[str, None] = {}
    for one in references:
        if one.startswith("role:"):
            keys.update(dict.fromkeys(resolve(people.roles.get(one[5:], ()), people, team, directory, scope)))
        elif one == "registered":
            keys.update(dict.fromkeys(_key(who, team) for who in directory.registered(scope or Scope())))
        elif is_group(one):
            users = sorted(directory.members(one))
            keys.update(dict.fromkeys(Principal(team=team, user=user).key for user in users))
        else:
            keys[_key(one, team)] = None
    return tuple(keys)


def _key(person: str, team: str) -> str:
    return person if ":" in person else Principal(team=team, user=person).key


def is_group(reference: str) -> bool:
    """Whether a reference is the id of a Slack user group."""
    return reference.startswith("S") and ":" not in reference


def groups_in(people: People, rules: Iterable[RuleText]) -> tuple[str, ...]:
    """Ids of every user group that a policy names."""
    named = [*people.approvers, *people.admins, *(one for members in people.roles.values() for one in members)]
    named += [one for rule in rules for one in (*rule.deciders, *rule.escalate_to)]
    return tuple(dict.fromkeys(one for one in named if is_group(one)))


def in_all(sets: Sequence[tuple[str, ...]], find: Callable[[tuple[str, ...]], tuple[str, ...]]) -> tuple[str, ...]:
    """Who is in each of several lists of references, in the order of the first."""
    found = [find(one) for one in sets]
    return tuple(key for key in found[0] if all(key in other for other in found[1:])) if found else ()


def may_approve_own(key: str, allowed: Sequence[str]) -> bool:
    """Whether one of the globs names this principal."""
    return any(fnmatch.fnmatchcase(key, glob) for glob in allowed)
