-- An endpoint that this shard gets to know later receives what was recorded since the endpoint was made.
INSERT INTO webhook_deliveries (endpoint, position)
SELECT id, coalesce((
    SELECT last_position FROM batches WHERE batches.recorded_at <= created_at
    ORDER BY recorded_at DESC, number DESC LIMIT 1
), 0)
FROM webhook_endpoints WHERE id = ANY ($1::text[])
ON CONFLICT DO NOTHING
