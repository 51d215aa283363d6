-- The key with this secret, also with the one before the last rotation while that is valid.
SELECT id, tenant, name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, created_at,
    changed_at, revoked_at
FROM api_keys WHERE hash = $1 AND revoked_at IS NULL
UNION ALL
SELECT id, tenant, name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, created_at,
    changed_at, revoked_at
FROM api_keys WHERE previous_hash = $1 AND previous_until > now() AND revoked_at IS NULL
