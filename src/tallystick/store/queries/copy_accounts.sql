COPY accounts (account, position, tenant, kind, status, min_balance, max_balance, owner, asset, metadata)
FROM STDIN (FORMAT binary)
