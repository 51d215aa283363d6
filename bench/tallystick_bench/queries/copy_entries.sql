COPY bench_copy.entries (account, position, amount, balance, held, held_after, bound, asset)
FROM STDIN (FORMAT binary)
