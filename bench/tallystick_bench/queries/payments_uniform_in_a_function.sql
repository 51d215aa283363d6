-- pgbench: any account pays any other.
\set source random(1, :accounts)
\set destination 1 + (:source + random(0, :accounts - 2)) % :accounts
\set amount random(1, 10000)
SELECT bench_rows.transfer(:source, :destination, :amount, gen_random_uuid());
