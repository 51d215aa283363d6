COPY requests (key, position, batch, code, param, detail, fingerprint) FROM STDIN (FORMAT binary)
