"""Tallystick: a digital wallet and double-entry ledger on PostgreSQL."""
