-- The progress of endpoints, and the head of the log.
SELECT
    endpoint, position, (SELECT coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0)),
    attempts, failing_since, next_attempt_at, parked_at, last_error
FROM webhook_deliveries WHERE endpoint = ANY ($1::text[]) ORDER BY endpoint
