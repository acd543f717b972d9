"""The pages of reference that are written from the code: settings and commands."""
