"""Valkey or Redis: cached balances, and the counters of limits."""
