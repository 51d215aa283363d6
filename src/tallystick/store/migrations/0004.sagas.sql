-- Sagas: transfers that cross shards, on the shard of the payer. A row when one is reserved, with its terms; a row
-- when it is finalized (2) or released (3). What became of the credit is recorded on the payee's shard.

CREATE TABLE sagas (
    saga        bigint   NOT NULL,
    position    bigint   NOT NULL,
    status      smallint NOT NULL CHECK (status BETWEEN 1 AND 3),
    counterpart bigint,
    code        smallint,
    param       text,
    detail      text,
    terms       json,
    PRIMARY KEY (saga, position),
    CHECK ((status = 1) = (terms IS NOT NULL) AND (status = 1) = (saga = position)),
    CHECK ((status = 2) = (counterpart IS NOT NULL) AND (status = 3) = (code IS NOT NULL))
);
CREATE UNIQUE INDEX sagas_position ON sagas (position);
-- A saga is reserved once and ends once, whoever drives it.
CREATE UNIQUE INDEX sagas_end ON sagas (saga) WHERE status <> 1;
-- What the recovery looks through.
CREATE INDEX sagas_reserved ON sagas (saga) WHERE status = 1;

CREATE TRIGGER sagas_within_batch AFTER INSERT ON sagas
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_within_batch();
ALTER TABLE sagas ENABLE ALWAYS TRIGGER sagas_within_batch;
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON sagas
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE sagas ENABLE ALWAYS TRIGGER immutable;

GRANT SELECT, INSERT ON sagas TO tallystick_server;
