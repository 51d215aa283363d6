SELECT
    coalesce((SELECT max(position) FROM transactions), 0),
    coalesce((SELECT max(number) FROM batches), 0)
