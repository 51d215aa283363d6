-- The end of the log, and the server's clock: read after the lock was taken.
SELECT
    coalesce(head.number, 0),
    coalesce(head.last_position, 0),
    coalesce((extract(epoch FROM head.recorded_at) * 1000000)::bigint, 0),
    head.hash,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (SELECT * FROM batches ORDER BY number DESC LIMIT 1) AS head ON true
