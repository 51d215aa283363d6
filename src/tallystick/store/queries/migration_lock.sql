-- One migration of a database at a time. The number keeps the lock apart from that of batches.
SELECT pg_advisory_xact_lock(x'7a10'::bigint << 32)
