-- All accounts of an owner, up to a number.
SELECT DISTINCT account FROM accounts WHERE tenant = $1 AND owner = $2 ORDER BY account LIMIT $3
