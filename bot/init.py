"""`secondkey init`: a commented configuration and the manifest to paste."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from agent.errors import ConfigurationError

_CONFIGURATION = """\
# Second Key. Every line can also be set in the environment as SECONDKEY_<NAME>; a list is written as JSON there,
# such as SECONDKEY_APPROVERS='["U012ABCDEF"]'.
# Secrets stand in the environment only: SLACK_BOT_TOKEN and SLACK_APP_TOKEN (Socket Mode) or
# SLACK_SIGNING_SECRET (signed HTTP); ANTHROPIC_API_KEY or OPENAI_API_KEY for models.

# Who may approve and take over, as Slack user ids (profile → ⋮ → Copy member ID). At least one is needed,
# such as ["U012ABCDEF"].
approvers = []

# Who may also stop everything and see every run.
admins = []

# The project that agents read, and into which approved changes are put.
project = "."

# The folder of the database and the workspaces. Keep it on a disk that outlives the process.
data = ".secondkey"

# The channel of the approval cards: a name or an id. Invite the bot to it.
actions_channel = "ai-actions"

# The channel of the takeover threads, when it is another one.
# takeover_channel = "ai-takeovers"

# Who is called when a takeover opens, and when nobody takes it: the id of a person or of a user group.
# on_call = "S012ABCDEF"

# Models in the order of trying. Without one, only runbooks work.
# models = "anthropic:claude-sonnet-5-5,openai:gpt-6-luna"

# A policy of your own instead of the one that comes with Second Key, and further runbooks.
# policy = "policy.toml"
# runbooks = ["runbooks.toml"]

# Prompts of your own, such as prompts/research.md; `secondkey prompts` says which are in use.
# prompts = "prompts"

# Limits.
# budget_usd = 0.50
# budget_usd_a_day = 10
# budget_usd_a_day_global = 100
# runs_an_hour = 10
# runs_an_hour_global = 100
# runs_at_once = 3
# runs_at_once_global = 50
# runs_waiting = 10
# follow_ups_an_hour = 30

# Days after a run's end until what it was about is dropped; the proof that it was stays.
# retention_days = 396

# Tools of your own (docs/own-tool.md), and seconds that a tool may take where 30 are not right.
# tools = ["ticket_tools.py"]
# tool_timeouts = { run_python = 60 }

# Packages that run_python may import beyond the standard library (docs/python-packages.md).
# python_packages = "packages"

# Where http_request may go; nowhere else, and without any such table there is no such tool.
# [egress."https://api.example.com"]
# methods = ["GET", "POST"]

# Secrets that agents use as secret:NAME and never see; `from` is env:NAME, file:/path or command:words.
# [secrets.API_TOKEN]
# from = "env:API_TOKEN"
# hosts = ["https://api.example.com"]

# Named databases that agents may query (docs/databases.md). Changes to them always ask.
# [databases]
# shop = "shop.db"
# [databases.crm]
# url = "postgresql://agent@db.example.com:5432/crm"
# password = "secret:CRM_PASSWORD"
# [secrets.CRM_PASSWORD]
# from = "env:CRM_PASSWORD"
# databases = ["crm"]
"""


def manifest_text() -> str:
    """The Slack app manifest that comes with this release."""
    packaged = resources.files("bot").joinpath("manifest.yml")
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return Path(__file__).parent.parent.joinpath("manifest.yml").read_text(encoding="utf-8")


def write_files(folder: Path, *, force: bool) -> tuple[Path, ...]:
    """Write `secondkey.toml` and `manifest.yml`; raises ConfigurationError rather than overwrite without `force`."""
    files = {folder / "secondkey.toml": _CONFIGURATION, folder / "manifest.yml": manifest_text()}
    there = [str(path) for path, text in files.items() if path.exists() and not _is(path, text)]
    if there and not force:
        raise ConfigurationError(
            f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already and would be overwritten.",
            fix="Name another folder with --folder, or overwrite with --force.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written: {error.strerror}.", fix="Name a folder that you may write to with --folder."
        ) from error
    return tuple(files)


def _is(path: Path, text: str) -> bool:
    """Whether a file holds exactly this; whatever else stands there is somebody's."""
    return path.is_file() and path.read_bytes() == text.encode()
