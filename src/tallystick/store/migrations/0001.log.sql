-- The log of one shard. Everything is appended; the newest row wins; nothing is ever changed.

CREATE TABLE batches (
    number        bigint      NOT NULL PRIMARY KEY,
    last_position bigint      NOT NULL,
    recorded_at   timestamptz NOT NULL,
    previous_hash bytea       NOT NULL CHECK (length(previous_hash) = 32),
    hash          bytea       NOT NULL CHECK (length(hash) = 32)
);
CREATE INDEX batches_recorded_at ON batches (recorded_at, number);

CREATE TABLE transactions (
    position     bigint      NOT NULL PRIMARY KEY,
    recorded_at  timestamptz NOT NULL,
    tenant       integer     NOT NULL,
    kind         smallint    NOT NULL,
    effective_at timestamptz,
    refers_to    bigint,
    description  text,
    metadata     json
);
CREATE INDEX transactions_refers_to ON transactions (refers_to) WHERE refers_to IS NOT NULL;

-- `bound` is the limit that this change was judged against: min_balance when it lowers what is available,
-- max_balance when it raises the balance. NULL held and held_after are zero.
CREATE TABLE entries (
    account    bigint NOT NULL,
    position   bigint NOT NULL,
    amount     bigint NOT NULL,
    balance    bigint NOT NULL,
    held       bigint,
    held_after bigint CHECK (held_after >= 0),
    bound      bigint,
    asset      text   NOT NULL,
    PRIMARY KEY (account, position),
    CONSTRAINT balance_within_bounds CHECK (
        bound IS NULL
        OR (amount < coalesce(held, 0) AND balance - coalesce(held_after, 0) >= bound)
        OR (amount >= coalesce(held, 0) AND balance <= bound)
    )
);
CREATE INDEX entries_position ON entries (position);

CREATE TABLE accounts (
    account     bigint   NOT NULL,
    position    bigint   NOT NULL,
    tenant      integer  NOT NULL,
    kind        smallint NOT NULL,
    status      smallint NOT NULL,
    min_balance bigint,
    max_balance bigint,
    owner       text     NOT NULL,
    asset       text     NOT NULL,
    metadata    json,
    PRIMARY KEY (account, position),
    CHECK (min_balance <= max_balance)
);
CREATE INDEX accounts_owner ON accounts (tenant, owner, account);
CREATE UNIQUE INDEX accounts_position ON accounts (position);

CREATE TABLE holds (
    hold        bigint      NOT NULL,
    position    bigint      NOT NULL,
    account     bigint      NOT NULL,
    destination bigint      NOT NULL,
    amount      bigint      NOT NULL CHECK (amount > 0),
    captured    bigint      NOT NULL CHECK (captured BETWEEN 0 AND amount),
    expires_at  timestamptz NOT NULL,
    status      smallint    NOT NULL,
    PRIMARY KEY (hold, position)
);
CREATE UNIQUE INDEX holds_position ON holds (position);
-- What the worker that expires holds looks through: status 1 is open.
CREATE INDEX holds_expires_at ON holds (expires_at, hold) WHERE status = 1;

-- The claim of each idempotency key: a position, or a refusal and the batch that recorded it.
CREATE TABLE requests (
    key         uuid     NOT NULL PRIMARY KEY,
    position    bigint,
    batch       bigint,
    code        smallint,
    param       text,
    detail      text,
    fingerprint bytea    NOT NULL,
    CHECK (num_nonnulls(position, batch) = 1 AND num_nonnulls(position, code) = 1)
);
CREATE INDEX requests_refused ON requests (batch) WHERE batch IS NOT NULL;

-- Immutability, for everybody, the owner and replication sessions included.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- What a batch must be. Positions follow the head without a gap and in one statement; entries and changes
-- belong to positions of this batch; entries sum to zero in each asset; the closing row fits what it closes.

CREATE FUNCTION head_position() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT last_position FROM batches ORDER BY number DESC LIMIT 1), 0)
$$;

CREATE FUNCTION check_transactions() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    head bigint := head_position();
    first_position bigint;
    last_position bigint;
    row_count bigint;
BEGIN
    SELECT min(position), max(position), count(*) INTO first_position, last_position, row_count FROM appended;
    IF row_count > 0 AND (first_position <> head + 1 OR last_position <> head + row_count) THEN
        RAISE EXCEPTION 'positions % to % (% rows) do not follow the head at % without a gap',
            first_position, last_position, row_count, head
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION check_within_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first_position bigint;
    last_position bigint;
BEGIN
    SELECT min(position), max(position) INTO first_position, last_position FROM appended;
    IF first_position <= head_position()
        OR last_position > (SELECT position FROM transactions ORDER BY position DESC LIMIT 1) THEN
        RAISE EXCEPTION '% at positions % to % are not part of the batch being written',
            TG_TABLE_NAME, first_position, last_position
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unbalanced record;
BEGIN
    SELECT position, asset, sum(amount) AS total INTO unbalanced
    FROM appended GROUP BY position, asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the entries of position % sum to % in %, not to zero',
            unbalanced.position, unbalanced.total, unbalanced.asset
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION check_batch() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    previous batches;
BEGIN
    SELECT * INTO previous FROM batches WHERE number < NEW.number ORDER BY number DESC LIMIT 1;
    IF NEW.number <> coalesce(previous.number, 0) + 1
        OR NEW.last_position <> coalesce((SELECT max(position) FROM transactions), 0)
        OR NEW.previous_hash <> previous.hash
        OR NEW.recorded_at < previous.recorded_at THEN
        RAISE EXCEPTION 'batch % does not continue the log', NEW.number
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER transactions_follow_head AFTER INSERT ON transactions
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_transactions();
CREATE TRIGGER entries_within_batch AFTER INSERT ON entries
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_within_batch();
CREATE TRIGGER entries_balanced AFTER INSERT ON entries
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_entries();
CREATE TRIGGER accounts_within_batch AFTER INSERT ON accounts
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_within_batch();
CREATE TRIGGER holds_within_batch AFTER INSERT ON holds
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION check_within_batch();
CREATE TRIGGER batches_continue_log AFTER INSERT ON batches
    FOR EACH ROW EXECUTE FUNCTION check_batch();

ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_follow_head;
ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_within_batch;
ALTER TABLE entries ENABLE ALWAYS TRIGGER entries_balanced;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER accounts_within_batch;
ALTER TABLE holds ENABLE ALWAYS TRIGGER holds_within_batch;
ALTER TABLE batches ENABLE ALWAYS TRIGGER batches_continue_log;

DO $$
DECLARE
    log_table text;
BEGIN
    FOREACH log_table IN ARRAY ARRAY['batches', 'transactions', 'entries', 'accounts', 'holds', 'requests'] LOOP
        EXECUTE format(
            'CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', log_table);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER immutable', log_table);
    END LOOP;
END
$$;

-- The checks read the tables of this schema and no others: anybody may make a temporary table, and by its name
-- it would be found first.

DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY[
        'refuse_change', 'head_position', 'check_transactions', 'check_within_batch', 'check_entries', 'check_batch'
    ] LOOP
        EXECUTE format('ALTER FUNCTION %I() SET search_path = %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;

-- The server's role may append and read, nothing else.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallystick_server') THEN
        CREATE ROLE tallystick_server NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server was migrated at the same moment
END
$$;
GRANT SELECT, INSERT ON batches, transactions, entries, accounts, holds, requests TO tallystick_server;
