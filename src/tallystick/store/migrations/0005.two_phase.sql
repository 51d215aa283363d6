-- What became of the batches that two shards prepared together: kept by the shard with the lower number, decided once.
-- A batch of which nothing stands here was not committed on any shard.

CREATE TABLE two_phase_decisions (
    batch      text        NOT NULL PRIMARY KEY,
    committed  boolean     NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON two_phase_decisions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE two_phase_decisions ENABLE ALWAYS TRIGGER immutable;

GRANT SELECT, INSERT ON two_phase_decisions TO tallystick_server;
