-- The row of a batch comes first, and the log takes no rows that are not of the batch being written. So what no
-- batch covers is refused at once, and a batch whose transactions are not all there is refused at its commit.

-- The batch of this database transaction, if it has written one. Its row must not be written inside a savepoint:
-- it would bear the number of a subtransaction. (xmin has 32 bits: a head that is exactly 2^32 database
-- transactions old would be taken for a batch of this one. Its positions are taken all the same.)
CREATE VIEW batch_being_written AS
SELECT newest.number, coalesce(previous.last_position, 0) AS after_position, newest.last_position
FROM (SELECT number, last_position, xmin FROM batches ORDER BY number DESC LIMIT 1) AS newest
LEFT JOIN batches AS previous ON previous.number = newest.number - 1
WHERE newest.xmin = pg_current_xact_id()::xid;

GRANT SELECT ON batch_being_written TO tallystick_server;

-- For every table of the log that has positions.
CREATE OR REPLACE FUNCTION check_within_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lowest bigint;
    highest bigint;
BEGIN
    SELECT min(position), max(position) INTO lowest, highest FROM appended;
    IF lowest IS NOT NULL AND NOT EXISTS (
        SELECT FROM batch_being_written AS batch
        WHERE lowest > batch.after_position AND highest <= batch.last_position
    ) THEN
        RAISE EXCEPTION '% at positions % to % are not part of the batch being written',
            TG_TABLE_NAME, lowest, highest
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

-- A request was posted at a position of this batch, or refused by it.
CREATE FUNCTION check_requests() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    written batch_being_written;
    strange_key uuid;
BEGIN
    SELECT * INTO written FROM batch_being_written;
    SELECT key INTO strange_key FROM appended
    WHERE (position > written.after_position AND position <= written.last_position) IS NOT TRUE
        AND (batch = written.number) IS NOT TRUE
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the claim of % is not part of the batch being written', strange_key
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

-- The row continues the log: the next number, the chain, time that does not go backwards, one for each commit.
CREATE OR REPLACE FUNCTION check_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous record;
BEGIN
    SELECT number, last_position, recorded_at, hash, xmin INTO previous
    FROM batches WHERE number < NEW.number ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(previous.number, 0) + 1
        OR NEW.last_position < coalesce(previous.last_position, 0)
        OR NEW.previous_hash <> previous.hash
        OR NEW.recorded_at < previous.recorded_at
        OR previous.xmin = pg_current_xact_id()::xid THEN
        RAISE EXCEPTION 'batch % does not continue the log', NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

-- At the commit: all positions of the batch are there, or, where it has none, a request that it refused.
CREATE FUNCTION check_batch_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    after_position bigint :=
        coalesce((SELECT last_position FROM batches WHERE number = NEW.number - 1), 0);
    transaction_count bigint :=
        (SELECT count(*) FROM transactions WHERE position > after_position AND position <= NEW.last_position);
BEGIN
    IF transaction_count <> NEW.last_position - after_position
        OR (transaction_count = 0 AND NOT EXISTS (SELECT FROM requests WHERE batch = NEW.number)) THEN
        RAISE EXCEPTION 'batch % is not complete: it has % of the transactions after % up to %',
            NEW.number, transaction_count, after_position, NEW.last_position
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER transactions_follow_head ON transactions;
DROP FUNCTION check_transactions();
DROP FUNCTION head_position();

CREATE TRIGGER transactions_within_batch AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_within_batch();
CREATE TRIGGER requests_within_batch AFTER INSERT ON requests
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_requests();
CREATE CONSTRAINT TRIGGER batches_complete AFTER INSERT ON batches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_batch_complete();

ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_within_batch;
ALTER TABLE requests ENABLE ALWAYS TRIGGER requests_within_batch;
ALTER TABLE batches ENABLE ALWAYS TRIGGER batches_complete;

-- As in 0001: the checks read the tables of this schema and no others. Replacing a function forgets its settings.
DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY[
        'check_within_batch', 'check_requests', 'check_batch', 'check_batch_complete'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;
