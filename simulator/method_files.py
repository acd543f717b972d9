"""Web API: files.*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.arguments import channel_of, number, text
from simulator.blocks import dicts
from simulator.errors import SlackError

if TYPE_CHECKING:
    from simulator.people import Json
    from simulator.services import Services


async def file_info(services: Services, args: Json) -> Json:
    """Describe a file that the bot can see."""
    here = services.workspace
    file = services.files.find(text(args, "file"))
    if not any(here.app.user_id in here.channel(ref).members for ref in file.channels):
        raise SlackError("file_not_found")
    return {"file": services.files.as_slack(file, services.url), "comments": []}


async def upload_url(services: Services, args: Json) -> Json:
    """Hand out the address that takes a file's content."""
    name, length = text(args, "filename"), number(args, "length", 0)
    if not name or length < 1:
        raise SlackError("invalid_arguments")
    file, token = services.files.upload(services.workspace.app.user_id, name, length)
    return {"file_id": file.id, "upload_url": f"{services.url}/upload/v1/{token}"}


async def complete_upload(services: Services, args: Json) -> Json:
    """Share uploaded files, with a comment, in a channel or thread."""
    given = dicts(args.get("files"))
    if not given:
        raise SlackError("invalid_arguments")
    files = [services.files.find(str(item.get("id"))) for item in given]
    for file, item in zip(files, given, strict=True):
        file.title = str(item.get("title") or file.title)
    wanted = [ref for ref in [text(args, "channel_id"), *text(args, "channels").split(",")] if ref]
    for ref in dict.fromkeys(wanted):
        channel = channel_of(services.workspace, {"channel": ref})
        for file in files:
            file.channels.append(channel.id)
        shapes = [services.files.as_slack(file, services.url) for file in files]
        said: Json = {"text": text(args, "initial_comment"), "thread_ts": args.get("thread_ts")}
        services.posting.bot_posts(channel, said, {"subtype": "file_share", "files": shapes, "upload": True})
    return {"files": [services.files.as_slack(file, services.url) for file in files]}


METHODS = {
    "files.info": file_info,
    "files.getUploadURLExternal": upload_url,
    "files.completeUploadExternal": complete_upload,
}
