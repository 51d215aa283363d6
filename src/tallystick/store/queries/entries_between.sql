-- What happened between two positions, in order: the changes of accounts with whose they are.
SELECT e.account, e.position, e.amount, e.balance, coalesce(e.held, 0), coalesce(e.held_after, 0), t.tenant, e.asset
FROM entries AS e
JOIN transactions AS t ON t.position = e.position
WHERE e.position > $1 AND e.position <= $2 AND t.position > $1 AND t.position <= $2
ORDER BY e.position
