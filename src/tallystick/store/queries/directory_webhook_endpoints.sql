SELECT
    id, tenant, url, kinds, owner, state, secret, previous_secret, previous_secret_until, created_at, version,
    changed_at
FROM webhook_endpoints ORDER BY id
