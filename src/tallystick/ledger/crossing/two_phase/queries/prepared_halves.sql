-- The prepared transactions of this database, and their age in seconds by the server's clock.
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, $1)
