-- Transfers in the log after a position: inside the shard (kind 10), and finalized to another (kind 32).
SELECT count(*) FROM transactions WHERE position > %s AND kind IN (10, 32)
