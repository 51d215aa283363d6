INSERT INTO tenants (tenant, name) VALUES (%s, %s)
ON CONFLICT DO NOTHING
