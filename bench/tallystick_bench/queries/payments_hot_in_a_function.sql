-- pgbench: every account pays the first one.
\set source random(2, :accounts)
\set amount random(1, 10000)
SELECT bench_rows.transfer(:source, 1, :amount, gen_random_uuid());
