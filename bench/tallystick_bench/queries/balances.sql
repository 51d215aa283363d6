-- How many of these accounts have a balance, and the sum of their balances.
SELECT count(*), coalesce(sum(newest.balance), 0)
FROM unnest(%s::bigint[]) AS named (account)
CROSS JOIN LATERAL (
    SELECT balance FROM entries WHERE entries.account = named.account ORDER BY position DESC LIMIT 1
) AS newest
