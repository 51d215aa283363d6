-- One page of an owner's accounts, in the order of their identifiers.
WITH RECURSIVE owned AS (
    (
        SELECT account FROM accounts
        WHERE tenant = $1 AND owner = $2 AND account > $3
        ORDER BY tenant, owner, account LIMIT 1
    )
    UNION ALL
    SELECT following.account
    FROM owned
    CROSS JOIN LATERAL (
        SELECT account FROM accounts
        WHERE tenant = $1 AND owner = $2 AND account > owned.account
        ORDER BY tenant, owner, account LIMIT 1
    ) AS following
)
SELECT account FROM owned LIMIT $4
