COPY (
    SELECT key, position, batch, code, param, detail, fingerprint
    FROM requests WHERE position IS NOT NULL ORDER BY position
) TO STDOUT (FORMAT binary)
