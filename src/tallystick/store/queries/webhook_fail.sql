-- One more attempt that failed: the next one after so many seconds, or none when it has failed for too long, which
-- after 0 seconds it has at once.
UPDATE webhook_deliveries SET
    attempts = attempts + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    next_attempt_at = clock_timestamp() + make_interval(secs => $4),
    parked_at = CASE
        WHEN $5::float8 = 0 OR clock_timestamp() - failing_since >= make_interval(secs => $5) THEN clock_timestamp()
    END,
    last_error = $6
WHERE endpoint = $1 AND generation = $2 AND position = $3
RETURNING attempts, parked_at IS NOT NULL
