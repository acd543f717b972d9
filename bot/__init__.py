"""The bot speaks Slack and is the only place where concrete objects are built."""
