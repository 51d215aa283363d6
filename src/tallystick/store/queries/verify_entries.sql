COPY (
    SELECT account, position, amount, balance, held, held_after, bound, asset
    FROM entries ORDER BY position, account
) TO STDOUT (FORMAT binary)
