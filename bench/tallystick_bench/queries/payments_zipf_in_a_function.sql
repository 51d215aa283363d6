-- pgbench: the n-th account pays and is paid in proportion to 1/n. pgbench knows exponents from 1.001.
\set source random_zipfian(1, :accounts, 1.001)
\set destination random_zipfian(1, :accounts, 1.001)
\set destination case when :destination = :source then 1 + :source % :accounts else :destination end
\set amount random(1, 10000)
SELECT bench_rows.transfer(:source, :destination, :amount, gen_random_uuid());
