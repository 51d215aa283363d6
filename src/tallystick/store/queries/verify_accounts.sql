COPY (
    SELECT account, position, tenant, kind, status, min_balance, max_balance, owner, asset, metadata
    FROM accounts ORDER BY position
) TO STDOUT (FORMAT binary)
