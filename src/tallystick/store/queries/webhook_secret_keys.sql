-- The keys that encrypt the secrets of endpoints; no name if a secret is not encrypted. Also of secrets that are no
-- longer valid.
SELECT id, state, secret_key FROM webhook_endpoints
UNION
SELECT id, state, previous_secret_key FROM webhook_endpoints WHERE previous_secret IS NOT NULL
ORDER BY id
