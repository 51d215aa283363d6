-- Transactions that were reversed, and their reversals: one row for each entry, by original, then position. A
-- reversal is a transaction of kind 12, or one of kind 30 that refers to another and captures no hold. For the latter
-- the reserved amount counts as the amount that leaves.
COPY (
    WITH reversals AS (
        SELECT refers_to AS original, position, false AS released
        FROM transactions WHERE kind = 12 AND refers_to IS NOT NULL
        UNION ALL
        SELECT
            reserved.refers_to, reserved.position,
            EXISTS (SELECT FROM sagas WHERE sagas.saga = reserved.position AND sagas.status = 3)
        FROM transactions AS reserved
        WHERE reserved.kind = 30 AND reserved.refers_to IS NOT NULL
            AND NOT EXISTS (SELECT FROM holds WHERE holds.position = reserved.position)
    ), involved AS (
        SELECT original, position, released FROM reversals
        UNION
        SELECT original, original, false FROM reversals
    )
    SELECT
        involved.original, involved.position, t.kind, t.tenant, e.account,
        coalesce(CASE WHEN t.kind = 30 THEN -e.held ELSE e.amount END, 0), involved.released::int
    FROM involved
    JOIN transactions AS t ON t.position = involved.position
    LEFT JOIN entries AS e ON e.position = involved.position
    ORDER BY involved.original, involved.position, e.account
) TO STDOUT (FORMAT binary)
