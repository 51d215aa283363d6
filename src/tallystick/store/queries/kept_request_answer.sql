UPDATE kept_requests SET answer = $2 WHERE key = $1 AND answer IS NULL RETURNING key
