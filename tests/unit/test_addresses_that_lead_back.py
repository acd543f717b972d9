"""Paths that some servers read as leading back: none of them passes a rule that is for one folder alone."""

from __future__ import annotations

import pytest

from agent.errors import BadArguments
from agent.tools.egress import read_url


@pytest.mark.parametrize(
    "path",
    [
        "/public/..;/admin", "/public/..;x=1/admin", "/public/%2e%2e;/admin", "/public/..%3b/admin",
        "/public/%252e%252e/admin", "/public/%25252e%25252e/admin", "/public/..%252fadmin", "/public/%255cadmin",
        "/a/%2500",
    ],
)  # fmt: skip
def test_what_some_servers_read_as_leading_back_is_no_address(path: str) -> None:
    with pytest.raises(BadArguments):
        read_url(f"https://api.harbour.coffee{path}")


@pytest.mark.parametrize("path", ["/a;v=1/b", "/100%25", "/a..b/c", "/a.;b", "/...", "/%7Euser", "/a%20b"])
def test_everyday_paths_stay_addresses(path: str) -> None:
    assert read_url(f"https://api.harbour.coffee{path}").path == path
