-- One page of an account's entries, newest first; in the order of the whole key, as in balance_at.sql.
SELECT
    e.position, e.amount, e.balance, coalesce(e.held, 0), coalesce(e.held_after, 0), e.bound, e.asset,
    (extract(epoch FROM t.recorded_at) * 1000000)::bigint, t.tenant, t.kind,
    (extract(epoch FROM t.effective_at) * 1000000)::bigint, t.refers_to, t.description, t.metadata::text
FROM (
    SELECT * FROM entries
    WHERE entries.account >= $1 AND (entries.account, entries.position) < ($1, $2)
    ORDER BY entries.account DESC, entries.position DESC LIMIT $3
) AS e
JOIN transactions AS t ON t.position = e.position
ORDER BY e.position DESC
