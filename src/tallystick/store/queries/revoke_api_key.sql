SELECT key_revoke($1, $2)
