COPY (
    SELECT position, recorded_at, tenant, kind, effective_at, refers_to, description, metadata
    FROM transactions ORDER BY position
) TO STDOUT (FORMAT binary)
