"""Files that people and the app shared, and the uploads on their way."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.clock import Clock, Ids
    from simulator.people import Json, Team


@dataclass(slots=True)
class File:
    """A file and its content."""

    id: str
    name: str
    title: str
    mimetype: str
    user: str
    created: int
    data: bytes = b""
    #: where it was shared
    channels: list[str] = field(default_factory=list[str])
    #: fields that a test wants to lie about, such as `size` or `file_access`
    lies: Json = field(default_factory=dict[str, Any])


class Files:
    """Every file, and every upload address handed out."""

    def __init__(self, *, team: Team, clock: Clock, ids: Ids) -> None:
        self._team = team
        self._clock = clock
        self._ids = ids
        self.held: dict[str, File] = {}
        #: upload tokens with the file they fill and the length that was said
        self._uploads: dict[str, tuple[File, int]] = {}

    def add(self, user: str, given: Json) -> File:
        """Keep a file of a person: `name`, and `content` as text or `data` as base64. Raises `invalid_arguments`."""
        name, content, encoded = given.get("name"), given.get("content"), given.get("data")
        if not isinstance(name, str) or not name or isinstance(content, str) is isinstance(encoded, str):
            raise SlackError("invalid_arguments")
        try:
            data = content.encode() if isinstance(content, str) else base64.b64decode(str(encoded), validate=True)
        except binascii.Error:
            raise SlackError("invalid_arguments") from None
        file = self._new(user, name, given.get("title"), given.get("mimetype"))
        file.data = data
        lies = {key: value for key, value in given.items() if key not in {"name", "content", "data", "title"}}
        file.lies = {key: value for key, value in lies.items() if key != "mimetype"}
        self.held[file.id] = file
        return file

    def upload(self, user: str, name: str, length: int) -> tuple[File, str]:
        """Hand out an upload address: a file to be and its token."""
        token = self._ids.secret()
        file = self._new(user, name, None, None)
        self._uploads[token] = (file, length)
        return file, token

    def fill(self, token: str, data: bytes) -> None:
        """Take an upload's content. Raises SlackError `invalid_token` or `length_mismatch`."""
        if token not in self._uploads:
            raise SlackError("invalid_token")
        file, length = self._uploads[token]
        if len(data) != length:
            raise SlackError("length_mismatch")
        file.data = data
        self.held[file.id] = file
        del self._uploads[token]

    def find(self, file_id: str) -> File:
        """Return a file. Raises SlackError `file_not_found`."""
        try:
            return self.held[file_id]
        except KeyError:
            raise SlackError("file_not_found") from None

    def as_slack(self, file: File, url: str) -> Json:
        """Return Slack's file object; `url` is where this server listens."""
        _, _, kind = file.name.rpartition(".")
        private = f"{url}/files-pri/{self._team.id}-{file.id}"
        name = quote(file.name, safe="")
        shape: Json = {
            "id": file.id,
            "created": file.created,
            "timestamp": file.created,
            "name": file.name,
            "title": file.title,
            "mimetype": file.mimetype,
            "filetype": kind.lower() if "." in file.name else "binary",
            "pretty_type": kind.upper() if "." in file.name else "Binary",
            "user": file.user,
            "user_team": self._team.id,
            "editable": False,
            "size": len(file.data),
            "mode": "hosted",
            "is_external": False,
            "external_type": "",
            "is_public": False,
            "public_url_shared": False,
            "file_access": "visible",
            "url_private": f"{private}/{name}",
            "url_private_download": f"{private}/download/{name}",
            "permalink": f"{url}/files/{file.user}/{file.id}/{name}",
            "channels": list(file.channels),
        }
        return shape | file.lies

    def _new(self, user: str, name: str, title: object, mimetype: object) -> File:
        guessed = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return File(
            self._ids.new("F"),
            name,
            str(title) if title else name,
            str(mimetype) if mimetype else guessed,
            user,
            int(self._clock.now()),
        )
