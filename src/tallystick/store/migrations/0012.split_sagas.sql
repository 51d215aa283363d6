-- Sagas with payees on several shards. They are finalized (2) without the position of one credit, and settled (5) when
-- all promises are confirmed; or they are given up (4), and released (3) when all promises are revoked.

ALTER TABLE sagas
    DROP CONSTRAINT sagas_status_check,
    DROP CONSTRAINT sagas_check1,
    ADD CONSTRAINT sagas_status CHECK (status BETWEEN 1 AND 5),
    ADD CONSTRAINT sagas_reasons CHECK (
        (status = 2 OR counterpart IS NULL) AND (status IN (3, 4)) = (code IS NOT NULL)
    );

-- A saga ends once: finalized or released, or, with payees on several shards, settled or released. Of these each is
-- finalized or given up, once. What looks for the end of a saga asks in the same words, so that it uses the index.
DROP INDEX sagas_end;
CREATE UNIQUE INDEX sagas_end ON sagas (saga)
    WHERE status IN (3, 5) OR (status = 2 AND counterpart IS NOT NULL);
CREATE UNIQUE INDEX sagas_decided ON sagas (saga) WHERE status = 4 OR (status = 2 AND counterpart IS NULL);
