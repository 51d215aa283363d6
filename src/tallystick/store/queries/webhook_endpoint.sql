-- One endpoint, even if it was removed.
SELECT
    id, tenant, url, kinds, owner, state, secret, secret_key, previous_secret, previous_secret_key,
    previous_secret_until, created_at, version, changed_at
FROM webhook_endpoints WHERE tenant = $1 AND id = $2
