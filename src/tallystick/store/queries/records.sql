-- Transactions by position, with their entries, accounts and holds. One row for each entry.
SELECT
    t.position, (extract(epoch FROM t.recorded_at) * 1000000)::bigint, t.tenant, t.kind,
    (extract(epoch FROM t.effective_at) * 1000000)::bigint, t.refers_to, t.description, t.metadata::text,
    e.account, e.amount, e.balance, coalesce(e.held, 0), coalesce(e.held_after, 0), e.bound, e.asset
FROM unnest($1::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (SELECT * FROM transactions WHERE transactions.position = wanted.position LIMIT 1) AS t
LEFT JOIN entries AS e ON e.position = t.position
ORDER BY t.position, e.amount, e.account
