-- The first position after one that has a transaction.
SELECT position FROM transactions WHERE position > $1 ORDER BY position LIMIT 1
