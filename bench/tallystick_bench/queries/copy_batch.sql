INSERT INTO bench_copy.batches (number, last_position, recorded_at, previous_hash, hash)
VALUES (%s, %s, timestamptz '1970-01-01 00:00:00+00' + %s * interval '1 microsecond', %s, %s)
