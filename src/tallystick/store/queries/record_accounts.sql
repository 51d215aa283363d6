-- Accounts as of the position at which their terms changed; in the order of the whole key, as in balance_at.sql.
SELECT
    wanted.position,
    terms.account, terms.tenant, terms.owner, terms.asset, terms.kind, terms.status,
    terms.min_balance, terms.max_balance, terms.metadata::text,
    coalesce(newest.balance, 0), coalesce(newest.held_after, 0), coalesce(newest.position, 0)
FROM unnest($1::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (SELECT * FROM accounts WHERE accounts.position = wanted.position LIMIT 1) AS terms
LEFT JOIN LATERAL (
    SELECT balance, held_after, position FROM entries
    WHERE entries.account >= terms.account
        AND (entries.account, entries.position) <= (terms.account, wanted.position)
    ORDER BY entries.account DESC, entries.position DESC LIMIT 1
) AS newest ON true
