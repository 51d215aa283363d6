-- The keys of a tenant, or of all, oldest first, after a place in this order.
SELECT id, api_keys.tenant, api_keys.name, hash, scopes, networks, expires_at, previous_hash, previous_until, version,
    api_keys.created_at, changed_at, revoked_at, tenants.name, used_at
FROM api_keys JOIN tenants USING (tenant) LEFT JOIN api_key_uses USING (id)
WHERE ($1::integer IS NULL OR tenant = $1)
    AND ($2::timestamptz IS NULL OR (api_keys.created_at, id) > ($2, $3::text))
ORDER BY api_keys.created_at, id
LIMIT $4
