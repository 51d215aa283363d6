-- Recorded requests, by their keys.
SELECT found.key, found.position, found.code, found.param, found.detail, found.fingerprint
FROM unnest($1::uuid[]) AS wanted (key)
CROSS JOIN LATERAL (SELECT * FROM requests WHERE requests.key = wanted.key LIMIT 1) AS found
