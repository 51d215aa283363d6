-- Which of these sagas have not ended, and how long ago each was reserved by this server's own clock.
SELECT
    wanted.saga,
    (extract(epoch FROM clock_timestamp() - t.recorded_at) * 1000000)::bigint
FROM unnest($1::bigint[]) AS wanted (saga)
JOIN transactions AS t ON t.position = wanted.saga
WHERE NOT EXISTS (SELECT FROM sagas AS ended WHERE ended.saga = wanted.saga AND ended.status <> 1)
ORDER BY wanted.saga
