-- An endpoint, or a newer version of it. A new one receives what comes after the head. One that was changed is tried
-- again at once, also by a server that begins with it later, and the time until it is parked begins again. On the
-- shard that decides ($15), the first of two versions with one number is in force. Nothing is returned if that was
-- another one.
WITH put AS (
    INSERT INTO webhook_endpoints AS present (
        id, tenant, url, kinds, owner, state, secret, secret_key, previous_secret, previous_secret_key,
        previous_secret_until, created_at, version, changed_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE SET
        url = excluded.url, kinds = excluded.kinds, owner = excluded.owner, state = excluded.state,
        secret = excluded.secret, secret_key = excluded.secret_key,
        previous_secret = excluded.previous_secret, previous_secret_key = excluded.previous_secret_key,
        previous_secret_until = excluded.previous_secret_until,
        version = excluded.version, changed_at = excluded.changed_at
    WHERE (present.version, present.changed_at) < (excluded.version, excluded.changed_at)
        AND (present.version < excluded.version OR NOT $15::boolean)
    RETURNING id
),
begun AS (
    INSERT INTO webhook_deliveries AS present (endpoint, position)
    SELECT id, coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0) FROM put
    ON CONFLICT (endpoint) DO UPDATE SET next_attempt_at = NULL, failing_since = NULL WHERE present.parked_at IS NULL
)
SELECT id FROM put
