COPY bench_copy.transactions
(position, recorded_at, tenant, kind, effective_at, refers_to, description, metadata)
FROM STDIN (FORMAT binary)
