SELECT id, tenant FROM api_keys WHERE hash = %s AND revoked_at IS NULL
