-- The balances of all accounts of a tenant at a position, summed by asset and kind: debits and credits.
SELECT
    terms.asset, terms.kind, count(*),
    sum(least(coalesce(newest.balance, 0), 0))::text, sum(greatest(coalesce(newest.balance, 0), 0))::text
FROM (
    SELECT DISTINCT ON (account) account, asset, kind FROM accounts
    WHERE tenant = $1 AND position <= $2 ORDER BY account, position
) AS terms
LEFT JOIN LATERAL (
    SELECT balance FROM entries
    WHERE entries.account >= terms.account AND (entries.account, entries.position) <= (terms.account, $2)
    ORDER BY entries.account DESC, entries.position DESC LIMIT 1
) AS newest ON true
GROUP BY terms.asset, terms.kind
ORDER BY terms.asset, terms.kind
