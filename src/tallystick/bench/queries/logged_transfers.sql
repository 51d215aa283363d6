-- Transfers (kind 10) in the log after a position.
SELECT count(*) FROM transactions WHERE position > %s AND kind = 10
