"""The agent decides and does the work; it knows no Slack, no SQLite and no scheduler."""
