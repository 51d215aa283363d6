-- Sagas that have not ended, from a position on, and how long ago each was reserved by this server's own clock.
SELECT
    reserved.saga,
    (extract(epoch FROM clock_timestamp() - t.recorded_at) * 1000000)::bigint
FROM sagas AS reserved
JOIN transactions AS t ON t.position = reserved.saga
WHERE reserved.status = 1 AND reserved.saga > $1
    AND NOT EXISTS (
        SELECT FROM sagas AS ended WHERE ended.saga = reserved.saga
            AND (ended.status IN (3, 5) OR (ended.status = 2 AND ended.counterpart IS NOT NULL))
    )
ORDER BY reserved.saga LIMIT $2
