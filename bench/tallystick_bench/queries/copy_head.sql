SELECT
    coalesce((SELECT max(number) FROM bench_copy.batches), 0),
    coalesce((SELECT max(position) FROM bench_copy.transactions), 0)
