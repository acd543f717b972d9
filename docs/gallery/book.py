"""The page of the gallery: which examples are drawn, in which order, and what is said of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from docs.gallery.drawing import file_name

UNDRAWN: Final = frozenset({"card, approved, denied", "card, approved, expired", "card, approved, withdrawn"})
"""Examples held to Slack's limits that nobody meets: these outcomes end a card otherwise."""
CHAPTERS: Final[Mapping[str, Mapping[str, str]]] = {
    "The card of an approval": {
        "card, pending": "A medium call asks for a yes; the first post mentions its deciders once.",
        "card, reminded": "A quarter of the time has passed.",
        "card, escalated": "Half of the time has passed, and people were called again.",
        "card, several wait": "Several calls of the run wait: they can be decided together.",
        "card, half a quorum": "Two people must approve, and one has.",
        "card, nobody else could decide": "Nobody else could decide; the card says so at once.",
        "card, edited": "A person changed the call, so somebody else must approve.",
        "card, asked again": "A person asked again after nobody had answered.",
        "card, asked again by the agent": "The yes was used up or no longer held, so it is asked anew.",
        "card, a diff": "The preview of a changed file.",
        "card, a request": "The preview of an HTTP request.",
        "card, no preview": "What it would change cannot be shown, and the card says why.",
        "card, approved": "Approved, and about to start.",
        "card, approved from a terminal": "The requester's own yes, where the policy allows that.",
        "card, allowed beforehand": "Nobody was asked: a standing permission covers the call.",
        "card, running": "Approved, and running.",
        "card, approved, succeeded": "Approved and done.",
        "card, approved, failed": "Approved, but the tool failed.",
        "card, approved, timed_out": "Approved, but it took too long.",
        "card, approved, refused": "Approved, but the rows were no longer as the preview had shown them.",
        "card, approved, cancelled": "Approved, then the run was stopped.",
        "card, approved, done_by_human": "Approved, then a person did it.",
        "card, approved, unknown": "The process died in the middle; a person is asked whether it happened.",
        "card, denied": "Denied.",
        "card, denied with a reason": "Denied with a reason, which the agent reads.",
        "card, expired": "Nobody answered in time: not run, and not denied either.",
        "card, expired, asked again": "Asked again; the old card leads to the new one.",
        "card, expired, new run": "Asked again when its run was over already.",
        "card, withdrawn": "Withdrawn by who asked for it.",
        "card, withdrawn by the run": "Withdrawn because the run went another way.",
        "card, withdrawn, asked again": "Asked again, and being rated.",
        "card, superseded, being rated": "Somebody changed the call, and it is being rated.",
        "card, superseded": "Somebody changed the call, and the new one waits.",
        "card, superseded, rated high": "The changed call became a takeover.",
        "card, superseded, refused": "The changed call was refused.",
    },
    "In the thread of a card": {
        "reply, succeeded": "Done; who asked is mentioned.",
        "reply, failed": "It failed.",
        "reply, timed_out": "It took too long.",
        "reply, refused": "It was refused at the start.",
        "reply, denied": "Denied, with the reason.",
        "reply, expired": "Nobody answered.",
        "reply, withdrawn": "Withdrawn by somebody else.",
        "reply, cancelled": "The run was stopped.",
        "reply, done_by_human": "A person did it.",
        "reply, unknown": "Nobody knows yet.",
        "reply, reminder": "A reminder, which notifies the deciders.",
        "reply, escalation": "The second one.",
    },
    "The packet of a takeover": {
        "takeover, open": "A high call is never run by the agent: a person is called.",
        "takeover, escalated": "Nobody has taken it for long.",
        "takeover, nobody could take it": "Nobody but those whose request it is could take it.",
        "takeover, claimed": "A person has it, and the agent waits.",
        "takeover, handed on": "It was handed on to somebody else.",
        "takeover, done": "Done by a person, with reference and evidence.",
        "takeover, handed back": "Handed back with an instruction.",
        "takeover, aborted": "Given up.",
        "takeover, unknown": "It was started and its result was lost: did it happen?",
        "takeover, unknown, it happened": "A person looked: it happened.",
    },
    "In the thread of a takeover": {
        "takeover note, handed on": "Its new holder is told.",
        "takeover note, released": "It is open again.",
        "takeover note, lapsed": "Its holder's time is over.",
        "takeover note, reminder": "A reminder.",
        "takeover note, escalation": "The louder one.",
        "takeover note, a question answered": "A question about the run, answered while nobody has it.",
    },
    "The thread of a task": {
        "task, asked by a command": "A task that was asked with `/agent run` gets a message to live under.",
        "task, about a message": "One that was asked about a message.",
        "task, a step of a workflow": "One that was asked by a workflow.",
        "progress, queued": "Waits for its turn.",
        "progress, planning": "A plan is being made.",
        "progress, fetching files": "Attached files are on their way.",
        "progress, working": "At the second of three steps.",
        "progress, waiting": "Waits for people, with links to the cards.",
        "progress, waiting, asked directly": "Asked in a direct message: it says where its cards will stand.",
        "progress, completed": "Completed.",
        "progress, partial": "Ended, partly done.",
        "progress, failed": "Failed.",
        "progress, cancelled": "Stopped by a person.",
    },
    "The answer": {
        "answer, completed": "Posted whole, with its sources and what it cost.",
        "answer, from a runbook": "Written without a model.",
        "answer, asked directly": "In a direct message.",
        "answer, partial": "What was done, denied, expired and not begun.",
        "answer, failed": "The run failed.",
        "answer, no plan": "No plan could be made.",
        "answer, cancelled": "The run was stopped.",
        "answer, long, its first part": "A long answer takes several messages; this is the beginning of the first.",
        "answer, long, its last part": "And this its last.",
    },
    "Modals": {
        "window, reason": "After a denial: a reason, if one likes.",
        "window, required reason": "The policy wants a reason for this yes.",
        "window, edit": "Change the call.",
        "window, edit with nobody else": "The same when nobody else could approve.",
        "window, changed": "The change is taken.",
        "window, not changed": "It is not.",
        "window, details": "Everything about a call, nothing cut.",
        "window, details of an outcome": "The same once it has ended.",
        "window, details on pages": "The end of the second page of a long one.",
        "window, together": "Several calls decided at once, each for itself.",
        "window, decided": "What became of each.",
        "window, allow": "Approve, and allow the same again.",
        "window, allow exactly this": "The exact scope, before it is given.",
        "window, takeover done": "What was done, a reference, evidence.",
        "window, takeover looked up": "The same after an unknown result.",
        "window, takeover handed back": "An instruction for the agent.",
        "window, takeover reassigned": "Who takes it instead.",
        "window, takeover aborted": "Why nobody does it.",
        "window, about a message": "The shortcut on a message.",
        "window, a task": "The shortcut for a new task.",
        "window, feedback": "After a thumbs-down.",
    },
    "App Home": {
        "home, empty": "Somebody new.",
        "home, busy": "Requests, takeovers and runs; a lost race is told on top.",
        "home, an admin's": "With the kill switch, and a part of the bot that is not well.",
        "home, paused": "Everything is paused.",
        "home, refused": "Somebody who may not ask.",
    },
    "Answers to /agent": {
        "command, help": "`/agent help`",
        "command, status": "`/agent status`",
        "command, runs": "`/agent runs`",
        "command, runs, none": "`/agent runs waiting`, and nothing waits",
        "command, approvals": "`/agent approvals`",
        "command, approvals, none": "The same, and nothing waits.",
        "command, why": "`/agent why`",
        "command, grants": "`/agent grants`",
        "command, budget": "`/agent budget`",
        "command, budget, used up": "The same, when no run is left.",
        "command, an unknown word": "A slip of the finger gets the nearest right word.",
    },
    "Words that one person sees": {
        "word, somebody was faster": "The loser of a race is told who won.",
        "word, it expired": "A click after the deadline.",
        "word, not entitled": "A click of somebody who may not decide.",
        "word, one's own request": "A click on one's own request.",
        "word, refused": "A guest.",
        "word, too many runs": "A quota.",
        "word, a slow database": "A click that is still being saved.",
    },
}
_HEAD: Final = """# Gallery

Every phase of each card, modal and page, as `make docs ARGS=gallery` draws them through the simulator, with made-up
people and data. GitHub shows the pictures in the theme that you read it in.
"""


def drawn() -> dict[str, str]:
    """Name → caption of all pictures."""
    return {name: caption for chapter in CHAPTERS.values() for name, caption in chapter.items()}


def page() -> str:
    """The Markdown page that lists all pictures."""
    parts = [_HEAD]
    for title, chapter in CHAPTERS.items():
        parts.append(f"## {title}\n")
        parts += [f"{_picture(name)}\n\n**{name}.** {caption}\n" for name, caption in chapter.items()]
    return "\n".join(parts)


def _picture(name: str) -> str:
    file = f"{file_name(name)}.png"
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="dark/{file}">'
        f'<img src="light/{file}" alt="{name}"></picture>'
    )
