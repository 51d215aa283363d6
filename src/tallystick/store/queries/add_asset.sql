INSERT INTO assets (tenant, code, scale, name) VALUES (%(tenant)s, %(code)s, %(scale)s, %(name)s)
ON CONFLICT DO NOTHING
