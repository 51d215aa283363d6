-- Terms and newest entries of accounts: the given ones, and those of the given holds and transactions.
WITH wanted AS (
    SELECT unnest($1::bigint[]) AS account
    UNION
    SELECT unnest(ARRAY[held.account, held.destination])
    FROM unnest($2::bigint[]) AS named (hold)
    CROSS JOIN LATERAL (SELECT * FROM holds WHERE holds.hold = named.hold LIMIT 1) AS held
    UNION
    SELECT entries.account
    FROM unnest($3::bigint[]) AS named (position)
    JOIN entries ON entries.position = named.position
)
SELECT
    terms.account, terms.tenant, terms.owner, terms.asset, terms.kind, terms.status,
    terms.min_balance, terms.max_balance, terms.metadata::text,
    coalesce(newest.balance, 0), coalesce(newest.held_after, 0), coalesce(newest.position, 0)
FROM wanted
CROSS JOIN LATERAL (
    SELECT * FROM accounts WHERE accounts.account = wanted.account ORDER BY position DESC LIMIT 1
) AS terms
LEFT JOIN LATERAL (
    SELECT balance, held_after, position FROM entries
    WHERE entries.account = wanted.account ORDER BY position DESC LIMIT 1
) AS newest ON true
