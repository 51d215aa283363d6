-- A request with neither position nor batch has no place, and comes last.
COPY (
    SELECT key, position, coalesce(batch, 9223372036854775807), code, param, detail, fingerprint
    FROM requests WHERE position IS NULL ORDER BY batch NULLS LAST, key
) TO STDOUT (FORMAT binary)
