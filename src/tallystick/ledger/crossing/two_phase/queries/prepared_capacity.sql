-- The identity of this server, and how many transactions it can keep prepared at once.
SELECT system_identifier, current_setting('max_prepared_transactions')::integer FROM pg_control_system()
