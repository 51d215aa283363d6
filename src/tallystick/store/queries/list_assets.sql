SELECT code, scale, name FROM assets WHERE tenant = %s ORDER BY code
