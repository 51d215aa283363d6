-- Write something that changes nothing, so that the commit waits for the synchronous standbys. They then have the log up
-- to here. Without synchronous standbys nothing is written. (A transaction that only has a number writes nothing, and
-- would not wait.)
SELECT pg_logical_emit_message(true, 'tallystick', '') WHERE current_setting('synchronous_standby_names') <> ''
