-- The entries of an account after a position and up to another one, oldest first; those that move nothing, too.
SELECT
    e.position, e.amount, e.balance, coalesce(e.held, 0), coalesce(e.held_after, 0), e.bound, e.asset,
    (extract(epoch FROM t.recorded_at) * 1000000)::bigint, t.tenant, t.kind,
    (extract(epoch FROM t.effective_at) * 1000000)::bigint, t.refers_to, t.description, t.metadata::text
FROM (
    SELECT * FROM entries
    WHERE entries.account = $1 AND entries.position > $2 AND entries.position <= $3
    ORDER BY entries.account, entries.position LIMIT $4
) AS e
JOIN transactions AS t ON t.position = e.position
ORDER BY e.position
