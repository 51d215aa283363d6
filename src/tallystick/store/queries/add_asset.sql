INSERT INTO assets (tenant, code, scale, name) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
