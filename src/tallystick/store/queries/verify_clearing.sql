-- The clearing accounts (kind 3), each with its newest balance.
COPY (
    SELECT DISTINCT a.account, a.tenant, a.asset, a.owner, coalesce(newest.balance, 0)
    FROM accounts AS a
    LEFT JOIN LATERAL (
        SELECT balance FROM entries WHERE entries.account = a.account ORDER BY entries.position DESC LIMIT 1
    ) AS newest ON true
    WHERE a.kind = 3
) TO STDOUT (FORMAT binary)
