-- The size of the tables that a transfer adds to, with their indexes, in bytes.
SELECT sum(pg_total_relation_size(name::regclass))::bigint
FROM unnest(ARRAY['batches', 'transactions', 'entries', 'requests', 'sagas']) AS grown (name)
