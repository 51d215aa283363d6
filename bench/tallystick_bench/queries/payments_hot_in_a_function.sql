-- pgbench: everybody pays the first account.
\set source random(2, :accounts)
\set amount random(1, 10000)
SELECT bench_rows.transfer(:source, 1, :amount, gen_random_uuid());
