SELECT tenant FROM tenants WHERE name = %s
