"""Storage keeps everything in one SQLite file."""
