-- Requests beside the log that had an idempotency key: what they asked for, what was drawn at random for them, and their
-- answer. The log has those that move money, for ever; these are removed after a time. One shard has them, the first.
-- `drawn` is what makes a second try do the same as the first, such as a new identifier; a secret in it is encrypted.
-- A request without an answer is carried out by the server that has claimed it, until that claim has lapsed.
CREATE TABLE kept_requests (
    key           bytea       NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    tenant        integer     NOT NULL REFERENCES tenants,
    fingerprint   bytea       NOT NULL,
    drawn         bytea       NOT NULL,
    answer        bytea,
    begun_at      timestamptz NOT NULL DEFAULT now(),
    tries         integer     NOT NULL DEFAULT 1,
    claimed_until timestamptz NOT NULL
);
CREATE INDEX kept_requests_begun ON kept_requests (begun_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON kept_requests TO tallystick_server;
