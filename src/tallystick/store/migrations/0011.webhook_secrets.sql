-- A secret is encrypted with a key that servers have and databases do not; the key's name stands beside it. Without a
-- name the secret is kept as it is, from before this migration, until `tallystick webhooks rotate-keys` encrypts it.
-- Encryption adds 28 bytes: a nonce of 12, and a tag of 16.
ALTER TABLE webhook_endpoints
    ADD COLUMN secret_key text,
    ADD COLUMN previous_secret_key text,
    DROP CONSTRAINT webhook_endpoints_secret_check,
    ADD CONSTRAINT webhook_endpoints_secret_check CHECK (
        (secret_key IS NULL AND length(secret) BETWEEN 24 AND 64)
        OR (secret_key IS NOT NULL AND length(secret) BETWEEN 52 AND 92)
    ),
    DROP CONSTRAINT webhook_endpoints_previous_secret_check,
    ADD CONSTRAINT webhook_endpoints_previous_secret_check CHECK (
        (previous_secret_key IS NULL AND length(previous_secret) BETWEEN 24 AND 64)
        OR (previous_secret_key IS NOT NULL AND length(previous_secret) BETWEEN 52 AND 92)
    );
