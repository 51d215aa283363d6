-- A key that is revoked on one shard is revoked, since the earliest time that any shard has.
INSERT INTO api_keys (id, tenant, name, hash, created_at, revoked_at) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    created_at = least(api_keys.created_at, excluded.created_at),
    revoked_at = least(api_keys.revoked_at, excluded.revoked_at)
