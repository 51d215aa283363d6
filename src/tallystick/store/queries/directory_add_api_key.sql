-- The version that was changed last is in force. A key that is revoked on one shard is revoked, since the earliest time
-- that any shard has.
INSERT INTO api_keys AS present (
    id, tenant, name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, created_at, changed_at,
    revoked_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    (name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, changed_at) = (
        SELECT newer.*
        FROM (VALUES
            (present.version, present.changed_at, 1),
            (excluded.version, excluded.changed_at, 2)
        ) AS versions (version, changed_at, which)
        CROSS JOIN LATERAL (
            SELECT present.name, present.hash, present.scopes, present.networks, present.expires_at,
                present.previous_hash, present.previous_until, present.version, present.changed_at WHERE which = 1
            UNION ALL
            SELECT excluded.name, excluded.hash, excluded.scopes, excluded.networks, excluded.expires_at,
                excluded.previous_hash, excluded.previous_until, excluded.version, excluded.changed_at WHERE which = 2
        ) AS newer
        ORDER BY versions.version DESC, versions.changed_at DESC, which
        LIMIT 1
    ),
    created_at = least(present.created_at, excluded.created_at),
    revoked_at = least(present.revoked_at, excluded.revoked_at)
