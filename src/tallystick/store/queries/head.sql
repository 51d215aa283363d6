-- The end of the log, the server's clock, and the earlier requests with these keys: one row at least.
SELECT
    coalesce(head.number, 0),
    coalesce(head.last_position, 0),
    coalesce((extract(epoch FROM head.recorded_at) * 1000000)::bigint, 0),
    head.hash,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
    found.key, found.position, found.code, found.param, found.detail, found.fingerprint
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (SELECT * FROM batches ORDER BY number DESC LIMIT 1) AS head ON true
LEFT JOIN LATERAL (
    SELECT recorded.*
    FROM unnest($1::uuid[]) AS wanted (key)
    CROSS JOIN LATERAL (SELECT * FROM requests WHERE requests.key = wanted.key LIMIT 1) AS recorded
) AS found ON true
