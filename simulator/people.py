"""Who is in the simulated workspace: the team, its people, the app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Role = Literal["member", "admin", "guest", "external", "bot"]


@dataclass(frozen=True, slots=True)
class Team:
    """A Slack workspace's identity."""

    id: str = "T0SECONDKEY"
    name: str = "Harbour Coffee"
    domain: str = "harbour-coffee"


@dataclass(frozen=True, slots=True)
class App:
    """The installed app, its bot and its secrets."""

    id: str = "A0SECONDKEY"
    user_id: str = "U0SECONDKEY"
    bot_id: str = "B0SECONDKEY"
    name: str = "Second Key"
    bot_token: str = "xoxb-simulator"  # noqa: S105  a token of the simulator, worth nothing elsewhere
    app_token: str = "xapp-simulator"  # noqa: S105  as above
    config_token: str = "xoxe.xoxp-simulator"  # noqa: S105  as above
    signing_secret: str = "simulator-signing-secret"  # noqa: S105  as above
    verification_token: str = "simulator-verification"  # noqa: S105  as above
    scopes: str = (
        "app_mentions:read,assistant:write,chat:write,commands,channels:history,channels:read,groups:history,"
        "groups:read,im:history,im:read,im:write,reactions:write,users:read,usergroups:read,files:read,files:write"
    )


@dataclass(frozen=True, slots=True)
class Command:
    """A slash command of the app's manifest."""

    command: str
    description: str
    usage_hint: str = ""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A shortcut of the app's manifest: `global`, or `message` in the menu of a message."""

    callback_id: str
    name: str
    type: Literal["global", "message"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input or output of a function; `type` is `string`, `slack#/types/user_id` and the like."""

    name: str
    title: str
    type: str = "string"
    is_required: bool = False

    def as_slack(self) -> Json:
        """Return the parameter as it stands in an event."""
        return {"type": self.type, "name": self.name, "title": self.title, "is_required": self.is_required}


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the app's manifest, which Workflow Builder offers as a step."""

    callback_id: str
    title: str
    description: str = ""
    inputs: tuple[Parameter, ...] = ()
    outputs: tuple[Parameter, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """A member of the workspace, or somebody of another one in a shared channel."""

    id: str
    name: str
    real_name: str
    title: str = ""
    role: Role = "member"
    color: str = "4a154b"
    team_id: str = "T0SECONDKEY"
    tz: str = "Europe/London"
    deleted: bool = False

    @property
    def is_bot(self) -> bool:
        """Say whether this is the app's bot user."""
        return self.role == "bot"

    def as_page(self) -> Json:
        """Return what the page shows of this person."""
        return {
            "id": self.id,
            "name": self.name,
            "real_name": self.real_name,
            "title": self.title,
            "role": self.role,
            "color": f"#{self.color}",
            "avatar": "".join(part[0] for part in self.real_name.split()[:2]).upper(),
            "deleted": self.deleted,
            "team_id": self.team_id,
        }

    def as_user(self) -> Json:
        """Return Slack's user object."""
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "real_name": self.real_name,
            "deleted": self.deleted,
            "color": self.color,
            "tz": self.tz,
            "tz_label": self.tz,
            "tz_offset": 0,
            "is_admin": self.role == "admin",
            "is_owner": False,
            "is_primary_owner": False,
            "is_restricted": self.role == "guest",
            "is_ultra_restricted": False,
            "is_stranger": self.role == "external",
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": 0,
            "profile": {
                "real_name": self.real_name,
                "display_name": self.name,
                "title": self.title,
                "team": self.team_id,
            },
        }


#: the people of the default workspace; the bot comes from `App`
PEOPLE: tuple[Person, ...] = (
    Person("U0MAYA", "maya", "Maya Lind", "Data engineer", color="2f6f8f"),
    Person("U0OMAR", "omar", "Omar Reyes", "Platform lead", role="admin", color="8a4f2d"),
    Person("U0INES", "ines", "Ines Costa", "Security", color="5b7f3a"),
    Person("U0THEO", "theo", "Theo Brandt", "Contractor", role="guest", color="7a6a9b"),
    Person("U0EVE", "eve", "Eve Stone", "Partner at Elsewhere", role="external", color="9b3a5b", team_id="T0ELSEWHERE"),
)
COMMANDS: tuple[Command, ...] = (
    Command("/agent", "Ask Second Key about its work", "status [run] | runs | stop <run> | help"),
)
SHORTCUTS: tuple[Shortcut, ...] = (
    Shortcut("ask_about_message", "Ask the agent about this", "message"),
    Shortcut("give_task", "Give the agent a task", "global"),
)
FUNCTIONS: tuple[Function, ...] = (
    Function(
        "run_agent_task",
        "Run an agent task",
        "Gives a task to the agent and waits for its answer",
        inputs=(
            Parameter("task", "Task", is_required=True),
            Parameter("channel", "Channel", "slack#/types/channel_id", is_required=True),
            Parameter("user", "Who asks", "slack#/types/user_id", is_required=True),
        ),
        outputs=(
            Parameter("answer", "Answer", is_required=True),
            Parameter("status", "Status", is_required=True),
            Parameter("run_id", "Run", is_required=True),
        ),
    ),
)
