COPY (
    SELECT hold, position, account, destination, amount, captured, expires_at, status
    FROM holds ORDER BY position
) TO STDOUT (FORMAT binary)
