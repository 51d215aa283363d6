-- Copies of the log's tables, with the same columns, constraints, indexes and rows, so that their indexes are as
-- large, but without triggers: nothing is read or decided.
DROP SCHEMA IF EXISTS bench_copy CASCADE;
CREATE SCHEMA bench_copy;
CREATE TABLE bench_copy.batches (LIKE batches INCLUDING ALL);
CREATE TABLE bench_copy.transactions (LIKE transactions INCLUDING ALL);
CREATE TABLE bench_copy.entries (LIKE entries INCLUDING ALL);
CREATE TABLE bench_copy.requests (LIKE requests INCLUDING ALL);
INSERT INTO bench_copy.batches SELECT * FROM batches;
INSERT INTO bench_copy.transactions SELECT * FROM transactions;
INSERT INTO bench_copy.entries SELECT * FROM entries ORDER BY position;
INSERT INTO bench_copy.requests SELECT * FROM requests;
