INSERT INTO tenants (tenant, name)
SELECT coalesce(max(tenant), 0) + 1, %(name)s FROM tenants
ON CONFLICT (name) DO NOTHING
