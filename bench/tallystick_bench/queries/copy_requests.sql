COPY bench_copy.requests (key, position, batch, code, param, detail, fingerprint) FROM STDIN (FORMAT binary)
