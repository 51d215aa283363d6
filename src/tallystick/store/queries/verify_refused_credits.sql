-- Refusals whose fingerprint is as long as the identifier of a saga, which is the fingerprint of its credit.
COPY (
    SELECT key, fingerprint, batch, coalesce(last_position, 0), code, param, detail
    FROM requests
    LEFT JOIN batches ON batches.number = requests.batch
    WHERE position IS NULL AND length(fingerprint) = 8
    ORDER BY fingerprint
) TO STDOUT (FORMAT binary)
