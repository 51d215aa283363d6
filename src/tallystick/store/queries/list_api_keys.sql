SELECT api_keys.id, tenants.name, api_keys.name, api_keys.created_at, api_keys.revoked_at
FROM api_keys JOIN tenants USING (tenant)
ORDER BY api_keys.created_at, api_keys.id
