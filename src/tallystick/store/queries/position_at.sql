-- The last position that was recorded up to a time.
SELECT coalesce((
    SELECT last_position FROM batches
    WHERE recorded_at <= timestamptz '1970-01-01 00:00:00+00' + $1::bigint * interval '1 microsecond'
    ORDER BY recorded_at DESC, number DESC LIMIT 1
), 0)
