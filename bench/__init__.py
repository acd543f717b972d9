"""Benchmarks: each module here whose name has no leading underscore is one, run as `python -m bench.NAME [--quick]`."""
