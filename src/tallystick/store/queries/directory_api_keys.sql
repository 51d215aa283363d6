SELECT
    id, tenant, name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, created_at, changed_at,
    revoked_at
FROM api_keys ORDER BY id
