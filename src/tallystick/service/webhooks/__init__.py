"""Webhooks: the log, told to whoever asked for it, event by event, signed, in order, at least once."""
