-- Active endpoints with their positions, the head of the log, and the age of the first transaction that each has not
-- received.
SELECT
    (SELECT coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0)),
    coalesce((
        SELECT extract(epoch FROM clock_timestamp() - recorded_at) FROM transactions
        WHERE transactions.position > delivery.position ORDER BY transactions.position LIMIT 1
    ), 0)::float8,
    delivery.generation, delivery.position, delivery.attempts, delivery.parked_at IS NOT NULL,
    greatest(coalesce(extract(epoch FROM delivery.next_attempt_at - clock_timestamp()), 0), 0)::float8,
    endpoint.id, tenant, url, kinds, owner, state, secret, secret_key,
    CASE WHEN previous_secret_until > clock_timestamp() THEN previous_secret END, previous_secret_key,
    previous_secret_until, created_at, version, changed_at
FROM webhook_endpoints AS endpoint LEFT JOIN webhook_deliveries AS delivery ON delivery.endpoint = endpoint.id
WHERE state = 'active' ORDER BY endpoint.id
