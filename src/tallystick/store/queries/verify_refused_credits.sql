-- Refusals whose fingerprint is as long as the number of a saga, which the fingerprint of its credit is.
COPY (
    SELECT key, fingerprint, batch, coalesce(last_position, 0), code, param, detail
    FROM requests
    LEFT JOIN batches ON batches.number = requests.batch
    WHERE position IS NULL AND length(fingerprint) = 8
    ORDER BY fingerprint
) TO STDOUT (FORMAT binary)
