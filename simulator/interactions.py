"""What people do to the app: commands, clicks, modals sent and closed; and what its answers change."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, cast

from simulator import payloads
from simulator.blocks import chosen, dicts, entered, find, missing, shown, state_of
from simulator.errors import NotAcked, SlackError
from simulator.limits import check_message, check_view

if TYPE_CHECKING:
    from simulator.delivery import Kind
    from simulator.people import Json, Person
    from simulator.services import Services
    from simulator.workspace import Channel

SILENT = "This app did not respond in time"
BROKEN = "We had some trouble connecting. Try again?"


class Interactions:
    """Delivers what people do and applies the acknowledgements."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()

    async def command(self, person: Person, channel: Channel, name: str, text: str) -> Json:
        """Run a slash command; the answer shows as an ephemeral, or to all if it says so."""
        if name not in {command.command for command in self._services.workspace.commands}:
            self._toast(person, f"{name} is not a valid command.")
            return {"ok": False, "error": "invalid_command"}
        try:
            payload = payloads.command(self._services, person, channel, name, text)
            ack = await self._services.delivery.request("slash_commands", payload)
        except NotAcked:
            self._toast(person, f"{name} failed: {SILENT.lower()}")
            return {"ok": False, "error": "dispatch_failed"}
        if ack.get("text") or ack.get("blocks") or ack.get("attachments"):
            self.respond(person.id, channel, ack)
        return {"ok": True}

    async def message_action(self, person: Person, channel: Channel, ts: str, given: Json) -> Json:
        """Use an element of a message. Raises SlackError `message_not_found` or `no_such_action`."""
        held = self._services.workspace.ephemerals.get((channel.id, ts))
        if held is not None and held[0] == person.id:
            message = held[1]
        else:
            message = self._services.workspace.message(channel, ts)
        blocks = shown(message)
        block, element = self._element(blocks, given)
        self._may_use(person, element)
        given = chosen(element, given)
        values = entered(blocks, given.get("values"), state_of(blocks))
        one = payloads.action(block, element, given, self._services.workspace.next_ts())
        payload = payloads.message_action(self._services, person, channel, message, one_action=one, state=values)
        return await self._acted(person, payload)

    async def view_action(self, person: Person, view: Json, given: Json) -> Json:
        """Use an element of a view. Raises SlackError `no_such_action`."""
        block, element = self._element(view["blocks"], given)
        given = chosen(element, given)
        view["state"]["values"] = entered(view["blocks"], given.get("values"), view["state"]["values"])
        entry = {key: given[key] for key in given if key not in {"as", "view_id", "block_id", "action_id", "values"}}
        if entry:
            own = {block["block_id"]: {element["action_id"]: {"type": element["type"]} | entry}}
            view["state"]["values"] = entered(view["blocks"], own, view["state"]["values"])
        one = payloads.action(block, element, given, self._services.workspace.next_ts())
        return await self._acted(person, payloads.view_action(self._services, person, view, one))

    async def shortcut(self, person: Person, callback_id: str, channel: Channel | None, ts: str) -> Json:
        """Use a shortcut, on a message when a channel is given. Raises SlackError `invalid_shortcut`."""
        kind = "global" if channel is None else "message"
        known = [s for s in self._services.workspace.shortcuts if s.callback_id == callback_id and s.type == kind]
        if not known:
            raise SlackError("invalid_shortcut", known=[s.callback_id for s in self._services.workspace.shortcuts])
        if channel is None:
            return await self._acted(person, payloads.shortcut(self._services, person, callback_id))
        message = self._services.workspace.message(channel, ts)
        payload = payloads.message_shortcut(self._services, person, callback_id, channel, message)
        return await self._acted(person, payload)

    async def submit(self, person: Person, view: Json, values: object) -> Json:
        """Send a modal; the answer closes, changes, replaces it, or says what is wrong."""
        view["state"]["values"] = entered(view["blocks"], values, view["state"]["values"])
        errors = missing(view["blocks"], view["state"]["values"])
        if errors:
            return {"ok": False, "errors": errors}
        payload = payloads.view_submission(self._services, person, view)
        try:
            ack = await self._request("interactive", payload)
        except NotAcked as unacked:
            self._toast(person, BROKEN)
            return {"ok": False, "error": "timeout" if "timeout" in unacked.reason else "dispatch_failed"}
        try:
            return self._apply(person, view, ack)
        except SlackError as error:
            self._toast(person, BROKEN)
            return {"ok": False, "error": error.code} | error.extra

    def close(self, person: Person, view: Json, *, is_cleared: bool) -> None:
        """Close a modal, or all of the person's, and tell the app if it wants to know."""
        closed = self._services.views.close(person.id, view, everything=is_cleared)
        for gone in closed:
            self._services.hub.tell([person.id], {"type": "view_closed", "view_id": gone["id"]})
            if gone["notify_on_close"]:
                payload = payloads.view_closed(self._services, person, gone, is_cleared=is_cleared)
                task = asyncio.get_running_loop().create_task(self._notify(payload))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def respond(self, user: str, channel: Channel, body: Json, source_ts: str | None = None) -> None:
        """Apply an answer to an interaction: say, replace or delete. Raises SlackError with Slack's code."""
        posting, ephemerals = self._services.posting, self._services.workspace.ephemerals
        ephemeral = source_ts is not None and (channel.id, source_ts) in ephemerals
        if body.get("delete_original") and source_ts is not None:
            if ephemeral:
                posting.delete_ephemeral(channel, source_ts)
            else:
                posting.delete(self._services.workspace.app.user_id, channel, source_ts)
            return
        check_message(body)
        if body.get("replace_original") and source_ts is not None:
            if ephemeral:
                posting.replace_ephemeral(channel, source_ts, body)
            else:
                posting.bot_changes(channel, source_ts, body)
        elif body.get("response_type") == "in_channel":
            posting.bot_posts(channel, body)
        else:
            posting.bot_whispers(user, channel, body)

    async def close_all(self) -> None:
        """Give up notices that are still under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _acted(self, person: Person, payload: Json) -> Json:
        try:
            await self._request("interactive", payload)
        except NotAcked as unacked:
            self._toast(person, SILENT)
            return {"ok": False, "error": "timeout" if "timeout" in unacked.reason else "dispatch_failed"}
        return {"ok": True}

    async def _request(self, kind: Kind, payload: Json) -> Json:
        return await self._services.delivery.request(kind, payload)

    async def _notify(self, payload: Json) -> None:
        try:
            await self._request("interactive", payload)
        except NotAcked:
            return

    def _apply(self, person: Person, view: Json, ack: Json) -> Json:
        services, answer = self._services, ack.get("response_action")
        if answer == "errors":
            given = ack.get("errors")
            errors = cast("Json", given) if isinstance(given, dict) else {}
            inputs = {b.get("block_id") for b in dicts(view["blocks"]) if b.get("type") == "input"}
            if not errors or not set(errors) <= inputs:
                raise SlackError("invalid_errors", errors=errors)
            return {"ok": False, "errors": errors}
        if answer == "clear":
            self.close(person, view, is_cleared=True)
        elif answer == "update":
            services.views.update(view, check_view(ack.get("view")))
            services.hub.tell([person.id], {"type": "view_updated", "view": copy.deepcopy(view)})
        elif answer == "push":
            pushed = services.views.push(person.id, check_view(ack.get("view")))
            services.hub.tell([person.id], {"type": "view_pushed", "view": copy.deepcopy(pushed)})
        elif answer is None:
            for gone in services.views.close(person.id, view):
                services.hub.tell([person.id], {"type": "view_closed", "view_id": gone["id"]})
        else:
            raise SlackError("invalid_response_action")
        return {"ok": True}

    def _element(self, blocks: object, given: Json) -> tuple[Json, Json]:
        found = find(blocks, given)
        if found is None:
            raise SlackError("no_such_action")
        return found

    def _may_use(self, person: Person, element: Json) -> None:
        only = element.get("visible_to_user_ids")
        if only and person.id not in only:
            raise SlackError("no_such_action")

    def _toast(self, person: Person, text: str) -> None:
        self._services.hub.tell([person.id], {"type": "toast", "text": text, "level": "error"})
