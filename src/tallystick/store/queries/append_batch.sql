INSERT INTO batches (number, last_position, recorded_at, previous_hash, hash)
VALUES ($1, $2, timestamptz '1970-01-01 00:00:00+00' + $3::bigint * interval '1 microsecond', $4, $5)
