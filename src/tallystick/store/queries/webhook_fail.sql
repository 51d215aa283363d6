-- Record a failed attempt. The next one follows after a number of seconds, or never if the endpoint failed for too
-- long (0 seconds: it is parked at once). An endpoint that was changed since the attempt ($7 is its version then) is
-- tried again at once: the failure of the old URL says nothing about the new one. (FOR SHARE waits for a change that
-- is being written.)
WITH asked AS (SELECT version = $7 AS unchanged FROM webhook_endpoints WHERE id = $1 FOR SHARE)
UPDATE webhook_deliveries SET
    attempts = attempts + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    next_attempt_at = CASE WHEN asked.unchanged THEN clock_timestamp() + make_interval(secs => $4) END,
    parked_at = CASE
        WHEN asked.unchanged AND ($5::float8 = 0 OR clock_timestamp() - failing_since >= make_interval(secs => $5))
        THEN clock_timestamp()
    END,
    last_error = $6
FROM asked
WHERE endpoint = $1 AND generation = $2 AND position = $3
RETURNING attempts, parked_at IS NOT NULL
