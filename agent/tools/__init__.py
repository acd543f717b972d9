"""The tools that a worker may be given; each is real, gated and bounded."""
