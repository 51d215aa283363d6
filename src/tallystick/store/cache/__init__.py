"""What Valkey or Redis is asked: balances, and the counters of limits."""
