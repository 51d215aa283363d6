VACUUM ANALYZE bench_rows.accounts
