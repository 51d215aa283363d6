-- Positions within a part of the log that a stream follows: all of these tenants, and changes of these accounts.
SELECT position FROM transactions WHERE position > $1 AND position <= $2 AND tenant = ANY ($3::integer[])
UNION
SELECT position FROM entries WHERE position > $1 AND position <= $2 AND account = ANY ($4::bigint[])
UNION
SELECT position FROM accounts WHERE position > $1 AND position <= $2 AND account = ANY ($4::bigint[])
ORDER BY position
