INSERT INTO api_keys (id, tenant, name, hash) VALUES (%(id)s, %(tenant)s, %(name)s, %(hash)s)
