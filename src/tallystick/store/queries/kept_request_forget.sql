DELETE FROM kept_requests WHERE key = $1 AND answer IS NULL AND tries = $2
