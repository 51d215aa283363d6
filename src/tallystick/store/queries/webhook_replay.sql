UPDATE webhook_deliveries SET
    generation = generation + 1, position = $2,
    attempts = 0, failing_since = NULL, next_attempt_at = NULL, parked_at = NULL, last_error = NULL
WHERE endpoint = $1
RETURNING position
