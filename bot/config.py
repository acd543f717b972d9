"""Settings from `secondkey.toml` and the environment; secrets only from the environment."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from agent.errors import ConfigurationError
from bot import config_words
from storage.ledger import Budgets
from storage.turns import Room

CONFIG_FILE = "secondkey.toml"


class Settings(BaseSettings):
    """What an operator can set. Every field can also be given as `SECONDKEY_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix="SECONDKEY_", extra="forbid", frozen=True, env_nested_delimiter="__")

    data: Path = Path(".secondkey")
    """Folder of the database, the workspaces and the keys."""
    project: Path = Path()
    """The project that agents read, and into which approved changes are put."""
    databases: dict[str, Path | dict[str, Any]] = {}
    """Named databases that query_sql may reach: a path to a SQLite file, or a table with the `url` of PostgreSQL."""
    egress: dict[str, dict[str, Any]] = {}
    """Origins that http_request may reach, such as `[egress."https://api.example.com"]`, with `methods`."""
    secrets: dict[str, dict[str, Any]] = {}
    """Secrets that tools may use unseen: `[secrets.NAME]` with `from` and `hosts`; the values stand elsewhere."""
    tools: tuple[str, ...] = ()
    """Modules, files or entry points with tools of one's own."""
    mcp: dict[str, dict[str, Any]] = {}
    """MCP servers: `[mcp.NAME]` with `command` or `url`; their tools are used once `secondkey mcp trust` named them."""
    python_packages: Path | None = None
    """Folder or virtual environment with the packages that run_python may import; none when unset."""
    tool_timeouts: dict[str, Annotated[float, Field(ge=2, le=300)]] = {}
    """Seconds that a tool may take, by its name; 30 where nothing is set."""
    policy: Path | None = None
    """The policy file; the one that comes with Second Key when unset."""
    runbooks: tuple[Path, ...] = ()
    """Further runbook files, tried before the ones that come with Second Key."""
    prompts: Path | None = None
    """Folder with prompts of one's own, such as `research.md`, in the place of those that come with Second Key."""
    approvers: tuple[str, ...] = ()
    """Slack user ids who may decide, besides those that the policy names."""
    admins: tuple[str, ...] = ()
    """Slack user ids who may stop everything and see every run, besides those that the policy names."""
    actions_channel: str = "ai-actions"
    """Channel of the approval cards: a name or an id."""
    takeover_channel: str = ""
    """Channel of the takeover threads; `actions_channel` when empty."""
    on_call: str = Field(default="", pattern=r"^([UWS][A-Z0-9]{2,30})?$")
    """Slack id of a person or a user group who is called when a takeover opens, and when nobody takes it."""
    command: str = Field(default="/agent", pattern=r"^/[a-z0-9_-]{1,31}$")
    """The slash command."""
    models: str = ""
    """Chain of models in the order of trying, such as `anthropic:claude-sonnet-5-5,openai:gpt-6-luna`."""
    prices: dict[str, tuple[float, float]] = {}
    """USD a million tokens in and out, for models whose price is not known."""
    budget_usd: float = Field(default=0.50, ge=0.000_001, le=100)
    """Budget of one run."""
    budget_usd_a_day: float = Field(default=10, ge=0, le=100_000)
    """What the runs of one person may cost on a day (UTC); 0 for no limit."""
    budget_usd_a_day_global: float = Field(default=100, ge=0, le=1_000_000)
    """What all runs together may cost on a day (UTC); 0 for no limit."""
    tokens_a_run: int = Field(default=4_000_000, ge=0)
    """Tokens that one run may use, read and written together, also where they cost nothing; 0 for no limit."""
    judge: Literal["doubt", "always", "never"] = "doubt"
    """When a model judges a finished step against what was expected of it; `doubt`: where the record leaves any."""
    history_tokens: int = Field(default=24_000, ge=4_000, le=1_000_000)
    """Tokens of a step's conversation above which its first turns are told in short."""
    task_characters: int = Field(default=8_000, ge=100, le=100_000)
    """Longest task that is taken."""
    model_timeout: float = Field(default=60, ge=1, le=300)
    """Seconds that one call of a model may take."""
    runs_an_hour: int = Field(default=10, ge=1)
    """Runs a person may start in an hour."""
    runs_an_hour_global: int = Field(default=100, ge=1)
    """Runs that everybody together may start in an hour."""
    runs_at_once: int = Field(default=3, ge=1)
    """Runs of one person that may be at work at once; those beyond wait for their turn."""
    runs_at_once_global: int = Field(default=50, ge=0)
    """Runs that may be at work at once, those that wait for people not counted; 0 for no limit."""
    runs_waiting: int = Field(default=10, ge=0)
    """Runs of one person beyond those at work that may wait for their turn; with 0 they are refused at once."""
    follow_ups_an_hour: int = Field(default=30, ge=1)
    """Times that a person may add words to running tasks in an hour."""
    retention_days: float = Field(default=396, gt=0)
    """Days after a run's end until what it was about is dropped and only hashes stay; 396 are thirteen months."""
    trace_file: Path | None = None
    """File that gets every span as JSON Lines, where no OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    trace_content: bool = False
    """Whether spans carry the first 500 characters of tasks, messages, arguments and results, redacted."""
    workspace_days: float = Field(default=7, ge=2)
    """Days after a run's end until its copy of the project is removed; changes can be taken back for one day."""
    host: str = "127.0.0.1"
    """Address on which the web server listens."""
    port: int = Field(default=8080, ge=0, le=65_535)
    """Port of the web server; `PORT` in the environment wins."""
    clock_rate: float = Field(default=1.0, gt=0, le=10_000)
    """Business seconds a real second, for demonstrations."""
    slack_api_url: str = "https://slack.com/api/"
    """Where Slack's Web API is."""
    slack_bot_token: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")

    @field_validator("slack_api_url")
    @classmethod
    def _with_slash(cls, value: str) -> str:
        return value if value.endswith("/") else value + "/"

    @property
    def budgets(self) -> Budgets:
        """What model calls may cost on a day."""
        return Budgets(int(self.budget_usd_a_day * 1_000_000), int(self.budget_usd_a_day_global * 1_000_000))

    @property
    def room(self) -> Room:
        """How many runs may be at work at once."""
        return Room(person=self.runs_at_once, everybody=self.runs_at_once_global)

    @property
    def database(self) -> Path:
        """The SQLite file with all state."""
        return self.data / "secondkey.db"

    @property
    def heads_file(self) -> Path:
        """Signed heads of the journal, outside the database; a copy on another machine is worth most."""
        return self.data / "audit-heads.jsonl"

    @property
    def kill_file(self) -> Path:
        """As long as this file is there, nothing starts."""
        return self.data / "KILL"


_SLACK_NAMES = {
    "SLACK_BOT_TOKEN": "slack_bot_token",
    "SLACK_APP_TOKEN": "slack_app_token",
    "SLACK_SIGNING_SECRET": "slack_signing_secret",
}


def load_settings(path: Path | None, environment: dict[str, str], **given: object) -> Settings:
    """Read the file (when there is one) and the environment; raises ConfigurationError with the place and the fix.

    Relative paths in the file are relative to the file.
    """
    file = path or Path(CONFIG_FILE)
    values: dict[str, Any] = {}
    if file.is_file() or (path is None and file.exists()):  # a folder of that name is told, not passed over
        values = {
            key: value for key, value in _read(file).items() if f"SECONDKEY_{key.upper()}" not in environment
        }  # fmt: skip
    elif path is not None:
        raise ConfigurationError(f"{path} is not there.", fix="Write one with `secondkey init`.")
    for name, field in _SLACK_NAMES.items():
        if field in values:
            raise ConfigurationError(
                f"{file} holds {field}; a token does not belong in a file.", fix=f"Set {name} in the environment."
            )
        if environment.get(name):
            values[field] = environment[name]
    if environment.get("PORT"):
        values["port"] = environment["PORT"]
        values.setdefault("host", "0.0.0.0")  # noqa: S104  # a platform that gives PORT routes from outside
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        first = faults[0]
        place = ".".join(str(part) for part in first["loc"])
        where = config_words.fix(first, str(file), environment)
        if first["type"] == "extra_forbidden":
            near = get_close_matches(place, Settings.model_fields, n=1)
            raise ConfigurationError(
                f"There is no setting {place!r}.", fix=f"Did you mean {near[0]!r}?" if near else where
            ) from error
        raise ConfigurationError(config_words.said(faults), fix=where) from error
    except SettingsError as error:
        raise ConfigurationError(
            "A setting in the environment cannot be read: a list or a table is written as JSON there.",
            fix="Write it like SECONDKEY_APPROVERS='[\"U0123\"]', or set it in the file.",
        ) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}.",
            fix="Mend the file; `secondkey init --folder NEW` writes a fresh one to compare with.",
        ) from error
    if odd := next((key for key, value in values.items() if isinstance(value, str) and "\0" in value), ""):
        raise ConfigurationError(f"The setting {odd!r} holds a NUL character.", fix=f"Mend it in {file}.")
    base = file.resolve().parent
    for key in ("data", "project", "policy", "prompts", "trace_file", "python_packages"):
        if isinstance(values.get(key), str):
            values[key] = base / values[key]
    if isinstance(values.get("databases"), dict):
        values["databases"] = {name: _based(base, item) for name, item in values["databases"].items()}
    if isinstance(values.get("runbooks"), list):
        values["runbooks"] = [base / str(item) for item in values["runbooks"]]
    if isinstance(values.get("tools"), list):
        values["tools"] = [str(base / item) if str(item).endswith(".py") else item for item in values["tools"]]
    return values


def _based(base: Path, item: object) -> object:
    """A database with its path relative to the file that names it."""
    if not isinstance(item, dict):
        return base / str(item)
    table = cast("dict[str, Any]", item)
    return {**table, "path": base / str(table["path"])} if "path" in table else table
