"""`python -m simulator`: serve a workspace until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from simulator.server import Simulator


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    simulator = await Simulator.start(
        host=arguments.host,
        port=arguments.port,
        rates=not arguments.no_rates,
        request_url=arguments.request_url,
        clock_rate=arguments.clock_rate,
    )
    async with simulator:
        sys.stdout.write(f"The simulated workspace is at {simulator.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> int:
    """Serve; return 2 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A Slack workspace on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8900, help="port to listen on; 0 takes a free one")
    parser.add_argument("--request-url", help="deliver events over signed HTTP to this URL")
    parser.add_argument("--clock-rate", type=float, default=1.0, help="how fast the business clock runs; shown only")
    parser.add_argument("--no-rates", action="store_true", help="switch Slack's posting rates off")
    arguments = parser.parse_args()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(arguments))
    except OSError as error:
        sys.stderr.write(
            f"Cannot listen on {arguments.host}:{arguments.port}: {error.strerror}. Choose another --port.\n"
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
