UPDATE kept_requests SET claimed_until = now() WHERE key = $1 AND answer IS NULL AND tries = $2
