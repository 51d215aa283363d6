-- Whether this session delivers the shard's webhooks now, until it ends: one session at a time does.
SELECT pg_try_advisory_lock(x'7a16'::bigint << 32)
