-- pgbench: every account pays the first one.
\set source random(2, :accounts)
\set amount random(1, 10000)
\set destination 1
\set request random(1, 9223372036854775807)
BEGIN;
SELECT transfer FROM bench_rows.requests WHERE key = md5((:request)::text)::uuid;
SELECT account, balance FROM bench_rows.accounts WHERE account IN (:source, :destination) ORDER BY account FOR UPDATE;
UPDATE bench_rows.accounts SET balance = balance - :amount
    WHERE account = :source AND balance >= :amount RETURNING balance AS source_balance, asset \gset
UPDATE bench_rows.accounts SET balance = balance + :amount
    WHERE account = :destination RETURNING balance AS destination_balance \gset
INSERT INTO bench_rows.transfers (source, destination, amount, asset, recorded_at)
    VALUES (:source, :destination, :amount, 'USD', clock_timestamp()) RETURNING transfer \gset
INSERT INTO bench_rows.entries (account, transfer, amount, balance) VALUES
    (:source, :transfer, 0 - (:amount)::bigint, :source_balance), (:destination, :transfer, :amount, :destination_balance);
INSERT INTO bench_rows.requests (key, transfer) VALUES (md5((:request)::text)::uuid, :transfer);
COMMIT;
