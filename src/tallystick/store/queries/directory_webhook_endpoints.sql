SELECT
    id, tenant, url, kinds, owner, state, secret, secret_key, previous_secret, previous_secret_key,
    previous_secret_until, created_at, version, changed_at
FROM webhook_endpoints ORDER BY id
