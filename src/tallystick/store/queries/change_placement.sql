-- Wait until no process holds the placement (hold_placement.sql), and hold it until this transaction ends.
SELECT pg_advisory_xact_lock(x'7a12'::bigint << 32)
