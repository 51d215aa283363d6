-- The entries between two positions, in order: the changes of accounts, with tenant and asset. As columns, which are
-- several times cheaper to read than rows.
SELECT
    coalesce(array_agg(p.account), '{}'),
    coalesce(array_agg(p.position), '{}'),
    coalesce(array_agg(p.amount), '{}'),
    coalesce(array_agg(p.balance), '{}'),
    coalesce(array_agg(p.held), '{}'),
    coalesce(array_agg(p.held_after), '{}'),
    coalesce(array_agg(p.tenant), '{}'),
    coalesce(array_agg(p.asset), '{}')
FROM (
    SELECT
        e.account, e.position, e.amount, e.balance, coalesce(e.held, 0) AS held,
        coalesce(e.held_after, 0) AS held_after, t.tenant, e.asset
    FROM entries AS e
    JOIN transactions AS t ON t.position = e.position
    WHERE e.position > $1 AND e.position <= $2 AND t.position > $1 AND t.position <= $2
    ORDER BY e.position
) AS p
