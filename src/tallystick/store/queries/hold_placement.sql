-- While this is held the placement that this shard was told of stays as it is; any number may hold it.
-- The number keeps it apart from the lock of batches.
SELECT pg_advisory_lock_shared(x'7a12'::bigint << 32)
