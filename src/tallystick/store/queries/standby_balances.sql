-- Whether this server is a standby, the last position of its log, and the newest balances of accounts: all at one
-- moment. There is one row without an account if none of them is known.
SELECT
    pg_is_in_recovery(), log.last_position,
    found.account, found.position, found.balance, found.held_after, found.tenant, found.asset
FROM (
    SELECT coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0) AS last_position
) AS log
LEFT JOIN LATERAL (
    SELECT
        terms.account, terms.tenant, terms.asset,
        coalesce(newest.position, 0) AS position,
        coalesce(newest.balance, 0) AS balance,
        coalesce(newest.held_after, 0) AS held_after
    FROM unnest($1::bigint[]) AS wanted (account)
    CROSS JOIN LATERAL (
        SELECT account, tenant, asset FROM accounts
        WHERE accounts.account = wanted.account ORDER BY position DESC LIMIT 1
    ) AS terms
    LEFT JOIN LATERAL (
        SELECT balance, held_after, position FROM entries
        WHERE entries.account = wanted.account ORDER BY position DESC LIMIT 1
    ) AS newest ON true
) AS found ON true
