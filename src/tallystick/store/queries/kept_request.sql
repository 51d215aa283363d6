SELECT fingerprint, drawn, answer FROM kept_requests WHERE key = $1
