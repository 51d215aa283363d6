-- While this is held, the placement that is recorded on this shard does not change. Any number of sessions may hold
-- it. The number keeps it apart from the lock of batches.
SELECT pg_advisory_lock_shared(x'7a12'::bigint << 32)
