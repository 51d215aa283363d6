-- One session at a time counts the endpoints and makes another one, until it releases the lock.
SELECT pg_advisory_lock(x'7a17'::bigint << 32)
