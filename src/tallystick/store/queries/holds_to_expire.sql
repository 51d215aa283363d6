-- Expired holds that have not ended yet, from a point in (expires_at, hold) onwards.
SELECT opened.hold, (extract(epoch FROM opened.expires_at) * 1000000)::bigint, t.tenant, newest.status
FROM (
    SELECT DISTINCT expires_at, hold FROM holds
    WHERE status = 1 AND expires_at <= statement_timestamp()
        AND (expires_at, hold) > (
            timestamptz '1970-01-01 00:00:00+00' + $1::bigint * interval '1 microsecond', $2
        )
    ORDER BY expires_at, hold LIMIT $3
) AS opened
CROSS JOIN LATERAL (
    SELECT status FROM holds WHERE holds.hold = opened.hold ORDER BY position DESC LIMIT 1
) AS newest
JOIN transactions AS t ON t.position = opened.hold
ORDER BY opened.expires_at, opened.hold
