"""Followers read a shard's log by position: the change feed, the cache of balances, webhooks."""
