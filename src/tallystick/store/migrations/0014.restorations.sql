-- A shard that was restored to an earlier moment has lost the newest positions of its log. Clients were told of them, so they
-- are not used again: a batch without any rows covers them, and the log goes on after it. Only the owner can write one.

CREATE TABLE restorations (
    batch bigint PRIMARY KEY,
    reason text NOT NULL CHECK (reason <> '')
);

CREATE FUNCTION check_restoration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM batch_being_written WHERE number = NEW.batch) THEN
        RAISE EXCEPTION 'batch % is not the batch being written', NEW.batch
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER restorations_within_batch AFTER INSERT ON restorations
    FOR EACH ROW EXECUTE FUNCTION check_restoration();
CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON restorations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
ALTER TABLE restorations ENABLE ALWAYS TRIGGER restorations_within_batch;
ALTER TABLE restorations ENABLE ALWAYS TRIGGER immutable;

-- At the commit: all positions of the batch are there, or, where it has none, a request that it refused. A batch of
-- `restorations` has nothing at any of its positions.
CREATE OR REPLACE FUNCTION check_batch_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    after_position bigint :=
        coalesce((SELECT last_position FROM batches WHERE number = NEW.number - 1), 0);
    transaction_count bigint :=
        (SELECT count(*) FROM transactions WHERE position > after_position AND position <= NEW.last_position);
BEGIN
    IF EXISTS (SELECT FROM restorations WHERE batch = NEW.number) THEN
        IF transaction_count > 0 OR NEW.last_position <= after_position
            OR EXISTS (SELECT FROM requests WHERE batch = NEW.number) THEN
            RAISE EXCEPTION 'batch % goes on after a restore, and must cover positions without transactions', NEW.number
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    ELSIF transaction_count <> NEW.last_position - after_position
        OR (transaction_count = 0 AND NOT EXISTS (SELECT FROM requests WHERE batch = NEW.number)) THEN
        RAISE EXCEPTION 'batch % is not complete: it has % of the transactions after % up to %',
            NEW.number, transaction_count, after_position, NEW.last_position
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

-- As in 0001: the checks read the tables of this schema and no others. Replacing a function forgets its settings.
DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['check_restoration', 'check_batch_complete'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;

-- The check of a batch reads it with the rights of the server.
GRANT SELECT ON restorations TO tallystick_server;
