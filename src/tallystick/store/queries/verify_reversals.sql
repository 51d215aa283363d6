-- Transactions that were reversed, and their reversals (kind 12): an entry a row, by original, then position.
COPY (
    WITH reversals AS (
        SELECT refers_to AS original, position FROM transactions WHERE kind = 12 AND refers_to IS NOT NULL
    ), involved AS (
        SELECT original, position FROM reversals
        UNION
        SELECT original, original FROM reversals
    )
    SELECT involved.original, involved.position, t.kind, t.tenant, e.account, coalesce(e.amount, 0)
    FROM involved
    JOIN transactions AS t ON t.position = involved.position
    LEFT JOIN entries AS e ON e.position = involved.position
    ORDER BY involved.original, involved.position, e.account
) TO STDOUT (FORMAT binary)
