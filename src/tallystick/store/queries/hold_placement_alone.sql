-- While this is held no other server places an owner on this shard, and the placement that it was told of stays as it is.
SELECT pg_advisory_lock(x'7a12'::bigint << 32)
