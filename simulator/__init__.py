"""A Slack workspace on this machine, for the demo and the tests; it imports nothing of the product."""

from __future__ import annotations

from simulator.clock import Clock, ManualClock, SystemClock, Timing
from simulator.driver import Driver
from simulator.server import Simulator

__all__ = ["Clock", "Driver", "ManualClock", "Simulator", "SystemClock", "Timing"]
