-- While this is held, no other server places an owner on this shard, and the recorded placement does not change.
SELECT pg_advisory_lock(x'7a12'::bigint << 32)
