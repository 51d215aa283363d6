-- Begin a batch. The shard's lock comes first, so that every later statement sees what the last holder committed. The
-- upper half of its key keeps the lock apart from any other use of advisory locks.
BEGIN;
SELECT pg_advisory_xact_lock((x'7a11'::bigint << 32) | number) FROM shard;
