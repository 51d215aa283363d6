-- How long this transaction waits for a lock, and that it may work for as long as it takes.
SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)
