-- The sum of the clearing accounts (kind 3).
SELECT coalesce(sum(newest.balance), 0)
FROM accounts
CROSS JOIN LATERAL (
    SELECT balance FROM entries WHERE entries.account = accounts.account ORDER BY position DESC LIMIT 1
) AS newest
WHERE accounts.kind = 3
