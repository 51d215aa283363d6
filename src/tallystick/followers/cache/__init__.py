"""Balances in Valkey or Redis: written after the commit, repaired from the log, never trusted for spending."""
