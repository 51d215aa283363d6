-- One more attempt that failed: the next one after so many seconds, or none when it has failed for too long, which
-- after 0 seconds it has at once. One that was changed since ($7 is the version that was asked) is asked again at once:
-- how the old url failed says nothing of the new one. (FOR SHARE waits for a change that is being written.)
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
