"""Pure functions: read models in, Block Kit out; no I/O and no clock."""
