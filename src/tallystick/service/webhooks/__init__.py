"""Webhooks: the events of the log, delivered to endpoints, signed, in order, at least once."""
