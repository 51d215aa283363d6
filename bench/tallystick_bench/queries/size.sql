-- What a transfer adds to: tables, their indexes and what belongs to them, in bytes.
SELECT sum(pg_total_relation_size(name::regclass))::bigint
FROM unnest(ARRAY['batches', 'transactions', 'entries', 'requests', 'sagas']) AS grown (name)
