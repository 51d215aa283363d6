SELECT id, api_keys.tenant, api_keys.name, hash, scopes, networks, expires_at, previous_hash, previous_until, version,
    api_keys.created_at, changed_at, revoked_at, tenants.name, used_at
FROM api_keys JOIN tenants USING (tenant) LEFT JOIN api_key_uses USING (id)
WHERE id = $1
