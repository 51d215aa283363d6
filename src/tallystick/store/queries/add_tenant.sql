INSERT INTO tenants (tenant, name)
SELECT coalesce(max(tenant), 0) + 1, $1 FROM tenants
ON CONFLICT (name) DO NOTHING
