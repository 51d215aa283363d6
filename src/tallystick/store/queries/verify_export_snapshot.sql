-- The snapshot, the last position of the log, and the size of all tables: at least that of what the snapshot shows.
SELECT
    pg_export_snapshot(),
    coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0),
    (
        SELECT sum(pg_table_size(oid))
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
    )
