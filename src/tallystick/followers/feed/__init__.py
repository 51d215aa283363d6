"""The change feed: a shard's log by position, as pages or live."""
