"""What must hold before anything is started; each failure is a ConfigurationError with its fix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.errors import ConfigurationError
from bot.config import Settings


def check_tokens(settings: Settings, *, over_http: bool) -> None:
    """See that the tokens of the chosen transport are set; raises ConfigurationError."""
    needed = {"SLACK_BOT_TOKEN": settings.slack_bot_token}
    needed |= (
        {"SLACK_SIGNING_SECRET": settings.slack_signing_secret}
        if over_http
        else {"SLACK_APP_TOKEN": settings.slack_app_token}
    )
    missing = [name for name, value in needed.items() if not value.get_secret_value()]
    if missing:
        raise ConfigurationError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
            fix=f"Copy {'it' if len(missing) == 1 else 'them'} from your app's settings on Slack into the environment.",
        )


def known_secrets(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """Name to value of every secret that this process holds, so that it can be kept out of sight."""
    named = {
        "SLACK_BOT_TOKEN": settings.slack_bot_token.get_secret_value(),
        "SLACK_APP_TOKEN": settings.slack_app_token.get_secret_value(),
        "SLACK_SIGNING_SECRET": settings.slack_signing_secret.get_secret_value(),
    }
    keys = {name: value for name, value in environment.items() if name.endswith(("_API_KEY", "_TOKEN", "_SECRET"))}
    return {name: value for name, value in {**keys, **named}.items() if value}


def prepare_folders(settings: Settings) -> None:
    """Make the data folder, and see that project and databases are there; raises ConfigurationError."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        settings.database.touch(mode=0o600)  # what SQLite adds beside it takes over its rights
    except OSError as error:
        raise ConfigurationError(
            f"The data folder {settings.data} cannot be made: {error.strerror}.", fix="Set `data` to another folder."
        ) from error
    if not settings.project.is_dir():
        raise ConfigurationError(f"The project {settings.project} is not a folder.", fix="Set `project`.")
    for name, item in settings.databases.items():
        path = item.get("path") if isinstance(item, dict) else item
        if path is not None and not Path(path).is_file():
            raise ConfigurationError(f"The database {name!r} is not at {path}.", fix="Mend [databases].")
