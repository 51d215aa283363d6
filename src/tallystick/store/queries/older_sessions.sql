-- The sessions of servers in this database, and the newest migration that the server of each knows, where that is older
-- than a number. Earlier servers do not say what they know.
SELECT count(*), min(known)
FROM (
    SELECT coalesce(substring(application_name FROM ' ([0-9]+)$')::integer, 0)
    FROM pg_stat_activity
    WHERE datname = current_database()
        AND application_name ~ '^tallystick (writer|reader|holder|pulse|lease)( [0-9]+)?$'
) AS sessions (known)
WHERE known < %s
