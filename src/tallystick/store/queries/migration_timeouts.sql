-- How long this transaction waits for a lock; its work has no time limit.
SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)
