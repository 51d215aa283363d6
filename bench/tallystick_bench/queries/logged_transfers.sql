-- Transfers in the log after a position: inside the shard (kind 10), and sent to another (32 by a saga, 40 by two-phase).
SELECT count(*) FROM transactions WHERE position > %s AND kind IN (10, 32, 40)
