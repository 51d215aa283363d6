COPY (SELECT number, last_position, recorded_at, previous_hash, hash FROM batches ORDER BY number)
TO STDOUT (FORMAT binary)
