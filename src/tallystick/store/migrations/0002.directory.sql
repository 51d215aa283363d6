-- What stands beside the log: which shard this is, tenants, API keys, custom assets.

CREATE TABLE shard (
    number     integer     NOT NULL CHECK (number BETWEEN 1 AND 4095),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX shard_is_one ON shard ((true));

CREATE TABLE tenants (
    tenant     integer     NOT NULL PRIMARY KEY CHECK (tenant > 0),
    name       text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO tenants (tenant, name) VALUES (1, 'default');

-- Only the SHA-256 of a key is kept: keys are 256 random bits, so there is nothing to guess or to slow down.
CREATE TABLE api_keys (
    id         text        NOT NULL PRIMARY KEY,
    tenant     integer     NOT NULL REFERENCES tenants,
    name       text        NOT NULL,
    hash       bytea       NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE assets (
    tenant     integer     NOT NULL REFERENCES tenants,
    code       text        NOT NULL,
    scale      smallint    NOT NULL CHECK (scale BETWEEN 0 AND 18),
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, code)
);

GRANT SELECT ON shard, tenants TO tallystick_server;
GRANT SELECT, INSERT ON tenants, assets, api_keys TO tallystick_server;
GRANT UPDATE (revoked_at) ON api_keys TO tallystick_server;
GRANT SELECT ON _yoyo_migration TO tallystick_server;
