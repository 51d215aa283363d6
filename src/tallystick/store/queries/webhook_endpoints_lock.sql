-- One session at a time counts the endpoints and makes another, until it gives the lock back.
SELECT pg_advisory_lock(x'7a17'::bigint << 32)
