-- The sum of the held amounts of all accounts.
SELECT coalesce(sum(newest.held_after), 0)
FROM (SELECT DISTINCT account FROM accounts) AS named
CROSS JOIN LATERAL (
    SELECT held_after FROM entries WHERE entries.account = named.account ORDER BY position DESC LIMIT 1
) AS newest
