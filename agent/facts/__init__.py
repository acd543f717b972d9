"""Facts are what can be read off an action without judgement."""
