"""Webhooks: every event of the log, delivered at least once, in order, signed after Standard Webhooks."""
