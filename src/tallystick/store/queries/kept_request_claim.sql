-- Claim a request for a time. Nothing is returned if it is another one, has an answer, or another server carries it out.
-- A few that are older than they need to be are removed, more than one for each that is added.
WITH old AS (
    DELETE FROM kept_requests WHERE key IN (
        SELECT key FROM kept_requests WHERE begun_at < now() - make_interval(secs => $6) AND key <> $1
        ORDER BY begun_at LIMIT 100 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO kept_requests AS present (key, tenant, fingerprint, drawn, claimed_until)
VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
ON CONFLICT (key) DO UPDATE SET claimed_until = excluded.claimed_until, tries = present.tries + 1
WHERE present.answer IS NULL AND present.fingerprint = excluded.fingerprint
    AND present.claimed_until < clock_timestamp()
RETURNING drawn, tries
