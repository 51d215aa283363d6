"""Sagas: reserve, credit, finalize; or release after a refusal. Each step is an ordinary command of one shard."""
