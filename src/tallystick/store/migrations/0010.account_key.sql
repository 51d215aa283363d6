-- What the identifiers of those accounts follow from that the ledger opens by itself: of clearing, and of system owners.
-- Callers choose the names of assets and of system owners; without the key they cannot choose them so that two accounts
-- get one identifier. Drawn once, kept for ever. What was opened up to `since_position` follows from its names alone.

CREATE TABLE account_key (
    key            bytea  NOT NULL CHECK (length(key) = 32),
    since_position bigint NOT NULL
);
CREATE UNIQUE INDEX account_key_is_one ON account_key ((true));

-- Random UUIDs are drawn from the operating system's source for secrets, 122 bits each.
INSERT INTO account_key (key, since_position)
SELECT
    sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    coalesce((SELECT max(position) FROM transactions), 0);

CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON account_key
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE account_key ENABLE ALWAYS TRIGGER immutable;

GRANT SELECT ON account_key TO tallystick_server;

-- Of each clearing account (kind 3) there is one: servers of an earlier version that still run cannot open another.
CREATE UNIQUE INDEX accounts_clearing ON accounts (tenant, owner, asset COLLATE "C") WHERE kind = 3;
