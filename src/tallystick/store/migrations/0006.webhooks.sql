-- Webhooks: who is told of what (on every shard alike), and how far each endpoint has been told of this shard's log.
-- The log itself is what is delivered from; these two tables are the only ones beside it that are changed.

-- No kinds: all of them. No owner: everybody's. The highest version, and then the latest change, is in force: the
-- shards need not be told in the same order. A secret is kept as it is, because messages are signed with it.
CREATE TABLE webhook_endpoints (
    id                    text        NOT NULL PRIMARY KEY,
    tenant                integer     NOT NULL REFERENCES tenants,
    url                   text        NOT NULL,
    kinds                 smallint[]  NOT NULL,
    owner                 text,
    state                 text        NOT NULL CHECK (state IN ('active', 'paused', 'removed')),
    secret                bytea       NOT NULL CHECK (length(secret) BETWEEN 24 AND 64),
    previous_secret       bytea       CHECK (length(previous_secret) BETWEEN 24 AND 64),
    previous_secret_until timestamptz,
    created_at            timestamptz NOT NULL,
    version               bigint      NOT NULL CHECK (version > 0),
    changed_at            timestamptz NOT NULL,
    CHECK ((previous_secret IS NULL) = (previous_secret_until IS NULL))
);
CREATE INDEX webhook_endpoints_tenant ON webhook_endpoints (tenant, created_at, id);

-- Everything up to `position` is delivered, or was not asked for. `attempts` are those of the next event, since
-- `failing_since`. What is parked waits for a replay; each replay is a new `generation`, so that whoever delivers
-- now cannot overwrite it.
CREATE TABLE webhook_deliveries (
    endpoint        text        NOT NULL PRIMARY KEY REFERENCES webhook_endpoints,
    generation      bigint      NOT NULL DEFAULT 1,
    position        bigint      NOT NULL CHECK (position >= 0),
    attempts        integer     NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    next_attempt_at timestamptz,
    parked_at       timestamptz,
    last_error      text
);

GRANT SELECT, INSERT, UPDATE ON webhook_endpoints, webhook_deliveries TO tallystick_server;
