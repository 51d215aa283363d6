-- Transactions that may be reversed, their entries, and how much of each was reversed before (kind 12), or is on its
-- way back to another shard (kind 30, unless released). One row for each entry; a transaction that moved nothing has
-- one row without an entry. The sum is numeric, because over several assets it may be more than a bigint.
SELECT
    original.position, original.tenant, original.kind, original.refers_to, entries.account, entries.amount,
    coalesce((
        SELECT sum(CASE undoing.kind WHEN 12 THEN undone.amount ELSE undone.held END)
        FROM transactions AS undoing
        JOIN entries AS undone ON undone.position = undoing.position
            AND CASE undoing.kind WHEN 12 THEN undone.amount ELSE undone.held END > 0
        WHERE undoing.refers_to = original.position AND undoing.kind IN (12, 30)
            AND (undoing.kind = 12 OR NOT EXISTS (
                SELECT FROM sagas WHERE sagas.saga = undoing.position AND sagas.status = 3
            ))
    ), 0)
FROM unnest($1::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (SELECT * FROM transactions WHERE transactions.position = wanted.position LIMIT 1) AS original
LEFT JOIN entries ON entries.position = original.position
ORDER BY entries.position, entries.account
