-- With which keys the secrets of endpoints are encrypted; no name: with none. Of a secret that is valid no more, too.
SELECT id, state, secret_key FROM webhook_endpoints
UNION
SELECT id, state, previous_secret_key FROM webhook_endpoints WHERE previous_secret IS NOT NULL
ORDER BY id
