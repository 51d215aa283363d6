INSERT INTO tenants (tenant, name)
SELECT coalesce($2, max(tenant) + 1, 1), $1 FROM tenants
ON CONFLICT DO NOTHING
