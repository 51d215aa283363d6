-- Sagas that give back a credit from another shard (kinds 31, 41, 43), by the crossing of that credit.
COPY (
    SELECT credit.refers_to, reversal.saga, reversal.terms
    FROM transactions AS reserved
    JOIN sagas AS reversal ON reversal.position = reserved.position
    JOIN transactions AS credit ON credit.position = reserved.refers_to AND credit.kind IN (31, 41, 43)
    WHERE reserved.kind = 30 AND reserved.refers_to IS NOT NULL AND credit.refers_to > 0
    ORDER BY credit.refers_to, reversal.saga
) TO STDOUT (FORMAT binary)
