-- Begin a batch: the shard's lock first, so that every later statement sees what the holder before committed.
-- The number above the shard's keeps the lock apart from any other use of advisory locks.
BEGIN;
SELECT pg_advisory_xact_lock((x'7a11'::bigint << 32) | number) FROM shard;
