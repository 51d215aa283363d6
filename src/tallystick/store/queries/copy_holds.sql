COPY holds (hold, position, account, destination, amount, captured, expires_at, status)
FROM STDIN (FORMAT binary)
