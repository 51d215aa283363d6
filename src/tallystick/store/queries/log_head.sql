SELECT coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0)
