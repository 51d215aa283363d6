-- What matters of a PostgreSQL server, its settings for sessions of this role and database, and the time.
SELECT
    current_setting('server_version') AS version,
    (SELECT system_identifier FROM pg_control_system()) AS system_identifier,
    (
        SELECT json_object_agg(name, setting) FROM pg_settings
        WHERE name IN (
            'autovacuum', 'data_checksums', 'fsync', 'full_page_writes', 'idle_session_timeout',
            'ignore_checksum_failure', 'lock_timeout', 'max_connections', 'reserved_connections',
            'superuser_reserved_connections', 'synchronous_commit', 'synchronous_standby_names', 'transaction_timeout',
            'wal_level', 'zero_damaged_pages'
        )
    ) AS settings,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_connections_max,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_connections_max,
    (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS clock_us
