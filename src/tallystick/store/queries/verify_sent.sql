-- The halves that were sent to other shards (kinds 40 and 42) after a position and up to another, one row for each
-- entry.
COPY (
    SELECT t.position, t.refers_to, t.kind, t.tenant, e.account, e.amount, e.asset
    FROM transactions AS t
    LEFT JOIN entries AS e ON e.position = t.position
    WHERE t.kind IN (40, 42) AND t.refers_to > 0 AND t.position > %s AND t.position <= %s
    ORDER BY t.position, e.account
) TO STDOUT (FORMAT binary)
