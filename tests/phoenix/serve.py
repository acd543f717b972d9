"""Starts Phoenix on the loopback alone: its own command lets gRPC listen on every address of the machine."""

from __future__ import annotations

import sys
from typing import Any

from grpc.aio import _server
from phoenix.server.main import main

_add = _server.Server.add_insecure_port


def _here(self: Any, address: str) -> int:
    return int(_add(self, address.replace("[::]", "127.0.0.1")))


if __name__ == "__main__":
    _server.Server.add_insecure_port = _here
    sys.argv[1:] = ["serve"]
    main()
