SELECT tenant, code, scale, name FROM assets ORDER BY tenant, code
