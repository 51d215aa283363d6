-- Owners who were placed beside another, and not where the placement puts them. It stands on the shard where the
-- placement puts them, before their first account is opened: who looks for them there is told where they live.

CREATE TABLE IF NOT EXISTS owner_homes (
    tenant integer            NOT NULL,
    owner  text COLLATE "C"   NOT NULL,
    shard  integer            NOT NULL,
    PRIMARY KEY (tenant, owner)
);

CREATE OR REPLACE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON owner_homes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE owner_homes ENABLE ALWAYS TRIGGER immutable;

GRANT SELECT, INSERT ON owner_homes TO tallystick_server;
