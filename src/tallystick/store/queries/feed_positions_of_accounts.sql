-- Positions within a part of the log at which one of these accounts was moved, opened or changed; in the order of the
-- whole key, as in balance_at.sql.
SELECT DISTINCT found.position
FROM unnest($6::bigint[]) AS wanted (account)
CROSS JOIN LATERAL (
    (
        SELECT entries.position FROM entries
        CROSS JOIN LATERAL (SELECT tenant, kind FROM transactions AS t WHERE t.position = entries.position LIMIT 1) AS t
        WHERE (entries.account, entries.position) > (wanted.account, $1::bigint)
            AND (entries.account, entries.position) <= (wanted.account, $2::bigint)
            AND t.tenant = $3 AND ($4::smallint[] IS NULL OR t.kind = ANY ($4::smallint[]))
        ORDER BY entries.account, entries.position LIMIT $5
    )
    UNION ALL
    (
        SELECT accounts.position FROM accounts
        CROSS JOIN LATERAL (SELECT tenant, kind FROM transactions AS t WHERE t.position = accounts.position LIMIT 1) AS t
        WHERE (accounts.account, accounts.position) > (wanted.account, $1::bigint)
            AND (accounts.account, accounts.position) <= (wanted.account, $2::bigint)
            AND t.tenant = $3 AND ($4::smallint[] IS NULL OR t.kind = ANY ($4::smallint[]))
        ORDER BY accounts.account, accounts.position LIMIT $5
    )
) AS found
ORDER BY found.position LIMIT $5
