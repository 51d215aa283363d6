INSERT INTO api_keys (id, tenant, name, hash) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
