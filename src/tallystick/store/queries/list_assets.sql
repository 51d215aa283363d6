SELECT code, scale, name FROM assets WHERE tenant = $1 ORDER BY code
