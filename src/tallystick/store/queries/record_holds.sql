-- Holds as of the position at which they changed.
SELECT
    changed.hold, changed.position, changed.account, changed.destination, changed.amount, changed.captured,
    changed.status, (extract(epoch FROM changed.expires_at) * 1000000)::bigint
FROM unnest($1::bigint[]) AS wanted (position)
CROSS JOIN LATERAL (SELECT * FROM holds WHERE holds.position = wanted.position LIMIT 1) AS changed
