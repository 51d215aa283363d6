-- The time of the newest batch, in microseconds; 0 if there is none.
SELECT coalesce((
    SELECT (extract(epoch FROM recorded_at) * 1000000)::bigint FROM batches ORDER BY number DESC LIMIT 1
), 0)
