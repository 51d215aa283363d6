-- Positions of one tenant's transactions within a part of the log, of some kinds or of all.
SELECT position FROM transactions
WHERE position > $1 AND position <= $2 AND tenant = $3 AND ($4::smallint[] IS NULL OR kind = ANY ($4::smallint[]))
ORDER BY position LIMIT $5
