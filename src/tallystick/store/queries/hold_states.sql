SELECT
    newest.hold, newest.position, newest.account, newest.destination, newest.amount, newest.captured,
    newest.status, (extract(epoch FROM newest.expires_at) * 1000000)::bigint
FROM unnest($1::bigint[]) AS wanted (hold)
CROSS JOIN LATERAL (
    SELECT * FROM holds WHERE holds.hold = wanted.hold ORDER BY position DESC LIMIT 1
) AS newest
