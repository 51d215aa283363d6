-- Transactions that may be reversed, their entries, and how much of each was reversed before (kind 12).
-- One row for each entry; one without an entry for a transaction that moved nothing. The sum is numeric:
-- over several assets it may be more than a bigint.
SELECT
    original.position, original.tenant, original.kind, entries.account, entries.amount,
    coalesce((
        SELECT sum(undone.amount)
        FROM transactions AS reversal
        JOIN entries AS undone ON undone.position = reversal.position AND undone.amount > 0
        WHERE reversal.refers_to = original.position AND reversal.kind = 12
    ), 0)
FROM unnest($1::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (SELECT * FROM transactions WHERE transactions.position = wanted.position LIMIT 1) AS original
LEFT JOIN entries ON entries.position = original.position
ORDER BY entries.position, entries.account
