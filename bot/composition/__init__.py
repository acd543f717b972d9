"""Part by part, what `bot/app.py` builds; nothing else imports from here."""
