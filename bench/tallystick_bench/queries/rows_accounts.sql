INSERT INTO bench_rows.accounts (account, asset, balance)
SELECT number, %(asset)s, %(balance)s FROM generate_series(1, %(accounts)s::bigint) AS number
