-- Changes nothing if another process has moved the state.
UPDATE webhook_deliveries SET
    position = $4, attempts = 0, failing_since = NULL, next_attempt_at = NULL, parked_at = NULL, last_error = NULL
WHERE endpoint = $1 AND generation = $2 AND position = $3
RETURNING position
