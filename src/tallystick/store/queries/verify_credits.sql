-- Money from other shards, one row for each entry: credits of sagas (kind 31), promises and their ends (34 to 36), by
-- saga, and received halves (41 and 43), by the other half.
COPY (
    SELECT t.refers_to, t.position, t.kind, t.tenant, e.account, e.amount, e.asset
    FROM transactions AS t
    LEFT JOIN entries AS e ON e.position = t.position
    WHERE t.kind IN (31, 34, 35, 36, 41, 43) AND t.refers_to > 0
    ORDER BY t.refers_to, t.position, e.account
) TO STDOUT (FORMAT binary)
