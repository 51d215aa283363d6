"""Many sagas over shards in memory, and a seeded scheduler that chooses what happens next.

Every shard is a real log, decided by the real rules; every driver follows the real table of stages. What is
made up is only what may go wrong: who is slow, what is lost, what comes twice, who crashes.
"""
