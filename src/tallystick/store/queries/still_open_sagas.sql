-- Those of these sagas that have not ended, and how long ago each was reserved by this server's own clock. The limits
-- keep it to an index descent for each, whatever statistics the planner has.
SELECT
    wanted.saga,
    (extract(epoch FROM clock_timestamp() - t.recorded_at) * 1000000)::bigint
FROM unnest($1::bigint[]) AS wanted (saga)
CROSS JOIN LATERAL (SELECT * FROM transactions WHERE transactions.position = wanted.saga LIMIT 1) AS t
LEFT JOIN LATERAL (
    SELECT saga FROM sagas WHERE sagas.saga = wanted.saga
        AND (sagas.status IN (3, 5) OR (sagas.status = 2 AND sagas.counterpart IS NOT NULL))
    LIMIT 1
) AS ended ON true
WHERE ended.saga IS NULL
ORDER BY wanted.saga
