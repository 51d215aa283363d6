-- Whether this session now delivers the shard's webhooks, until it ends. Only one session at a time does.
SELECT pg_try_advisory_lock(x'7a16'::bigint << 32)
