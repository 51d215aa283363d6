-- The usual design: a balance in a row of its own, updated under a row lock, and the history beside it. `fillfactor`
-- leaves room for the new version of a row in its page, as experienced users of PostgreSQL do.
DROP SCHEMA IF EXISTS bench_rows CASCADE;
CREATE SCHEMA bench_rows;
CREATE TABLE bench_rows.accounts (
    account bigint NOT NULL PRIMARY KEY,
    asset   text   NOT NULL,
    balance bigint NOT NULL CHECK (balance >= 0)
) WITH (fillfactor = 70);
CREATE TABLE bench_rows.transfers (
    transfer    bigint      NOT NULL PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    source      bigint      NOT NULL,
    destination bigint      NOT NULL,
    amount      bigint      NOT NULL CHECK (amount > 0),
    asset       text        NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE TABLE bench_rows.entries (
    account  bigint NOT NULL,
    transfer bigint NOT NULL,
    amount   bigint NOT NULL,
    balance  bigint NOT NULL,
    PRIMARY KEY (account, transfer)
);
CREATE TABLE bench_rows.requests (
    key      uuid   NOT NULL PRIMARY KEY,
    transfer bigint NOT NULL
);

CREATE FUNCTION bench_rows.transfer(payer bigint, payee bigint, moved bigint, request uuid)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    made bigint;
    counted text;
    payer_balance bigint;
    payee_balance bigint;
BEGIN
    SELECT requests.transfer INTO made FROM bench_rows.requests WHERE requests.key = request;
    IF FOUND THEN
        RETURN made;
    END IF;
    -- Locked in the order of their numbers, so that two transfers cannot wait for each other.
    PERFORM FROM bench_rows.accounts WHERE account IN (payer, payee) ORDER BY account FOR UPDATE;
    UPDATE bench_rows.accounts SET balance = balance - moved
        WHERE account = payer AND balance >= moved RETURNING balance, asset INTO payer_balance, counted;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'insufficient funds';
    END IF;
    UPDATE bench_rows.accounts SET balance = balance + moved
        WHERE account = payee AND asset = counted RETURNING balance INTO payee_balance;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such account';
    END IF;
    INSERT INTO bench_rows.transfers (source, destination, amount, asset, recorded_at)
        VALUES (payer, payee, moved, counted, clock_timestamp()) RETURNING transfer INTO made;
    INSERT INTO bench_rows.entries (account, transfer, amount, balance)
        VALUES (payer, made, -moved, payer_balance), (payee, made, moved, payee_balance);
    INSERT INTO bench_rows.requests (key, transfer) VALUES (request, made);
    RETURN made;
END
$$;
