-- The version that was changed last is in force.
INSERT INTO webhook_endpoints AS present (
    id, tenant, url, kinds, owner, state, secret, secret_key, previous_secret, previous_secret_key,
    previous_secret_until, created_at, version, changed_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (id) DO UPDATE SET
    url = excluded.url, kinds = excluded.kinds, owner = excluded.owner, state = excluded.state,
    secret = excluded.secret, secret_key = excluded.secret_key,
    previous_secret = excluded.previous_secret, previous_secret_key = excluded.previous_secret_key,
    previous_secret_until = excluded.previous_secret_until,
    version = excluded.version, changed_at = excluded.changed_at
WHERE (present.version, present.changed_at) < (excluded.version, excluded.changed_at)
