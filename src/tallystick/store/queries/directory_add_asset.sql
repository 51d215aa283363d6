INSERT INTO assets (tenant, code, scale, name) VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
