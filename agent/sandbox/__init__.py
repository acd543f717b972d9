"""Where commands run that are not trusted: walls proved by a self-test, or no run at all."""
