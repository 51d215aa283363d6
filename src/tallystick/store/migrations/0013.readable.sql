-- What people read with psql, and reports: the log in words, with the identifiers of the API. Each view stands on the tables
-- of the log alone, and nothing of the product reads it. Numbers that may be filtered by an index stand beside identifiers.
-- `migrate` runs this file again when somebody has changed or dropped what it makes.

-- An identifier as the API writes it: 13 digits of Crockford's base 32, and Damm's check character over GF(2^5). Each bit of
-- that character is the parity of some bits of the number, because the step from digit to digit is linear.
CREATE OR REPLACE FUNCTION readable_identifier(prefix text, identifier bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT prefix || '_'
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 60 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 55 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 50 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 45 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 40 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 35 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 30 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 25 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 20 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 15 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 10 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 5 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + (identifier >> 0 & 31)::integer, 1)
        || substr('0123456789abcdefghjkmnpqrstvwxyz', 1
            + ((bit_count((identifier & 7955158417257599248)::bit(64)) & 1) << 0)::integer
            + ((bit_count((identifier & 5534024357164229121)::bit(64)) & 1) << 1)::integer
            + ((bit_count((identifier & 8646872581743137074)::bit(64)) & 1) << 2)::integer
            + ((bit_count((identifier & 9222133546991887940)::bit(64)) & 1) << 3)::integer
            + ((bit_count((identifier & 9183740361242364040)::bit(64)) & 1) << 4)::integer, 1)
$$;

-- The number of an identifier, NULL for one that was mistyped. The same for what the log calls by its position, NULL for
-- what is on another shard.
CREATE OR REPLACE FUNCTION readable_number(identifier text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN readable_identifier(split_part(identifier, '_', 1), number) = identifier THEN number END
    FROM (
        SELECT bit_or(
            (strpos('0123456789abcdefghjkmnpqrstvwxyz', substr(split_part(identifier, '_', 2), place, 1)) - 1)::bigint
                << 5 * (13 - place)
        ) AS number
        FROM generate_series(1, 13) AS place
    ) AS read
$$;
CREATE OR REPLACE FUNCTION readable_position(identifier text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT readable_number(identifier) & 2251799813685247
    FROM shard WHERE shard.number = readable_number(identifier) >> 51
$$;

CREATE OR REPLACE FUNCTION readable_kind(kind integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE kind
        WHEN 1 THEN 'account_opened'
        WHEN 2 THEN 'account_changed'
        WHEN 10 THEN 'transfer'
        WHEN 11 THEN 'transaction'
        WHEN 12 THEN 'reversal'
        WHEN 20 THEN 'hold_placed'
        WHEN 21 THEN 'hold_captured'
        WHEN 22 THEN 'hold_voided'
        WHEN 23 THEN 'hold_expired'
        WHEN 30 THEN 'transfer_reserved'
        WHEN 31 THEN 'transfer_credited'
        WHEN 32 THEN 'transfer_finalized'
        WHEN 33 THEN 'transfer_released'
        WHEN 34 THEN 'transfer_promised'
        WHEN 35 THEN 'transfer_confirmed'
        WHEN 36 THEN 'transfer_revoked'
        WHEN 37 THEN 'transfer_given_up'
        WHEN 38 THEN 'transfer_settled'
        WHEN 40 THEN 'transfer_sent'
        WHEN 41 THEN 'transfer_received'
        WHEN 42 THEN 'transaction_sent'
        WHEN 43 THEN 'transaction_received'
    END
$$;

-- As in 0001: functions find what they call in this schema. (The others call nothing of ours, and are put into the query
-- that calls them only without such a setting.)
DO $$
DECLARE
    function_name text;
BEGIN
    FOREACH function_name IN ARRAY ARRAY['readable_number', 'readable_position'] LOOP
        EXECUTE format('ALTER FUNCTION %I(text) SET search_path = %I, pg_temp', function_name, current_schema());
    END LOOP;
END
$$;

-- Each account with its newest terms, and what its newest entry left.
CREATE OR REPLACE VIEW readable_accounts AS
SELECT
    readable_identifier('acct', terms.account) AS account,
    terms.account AS account_number,
    tenants.name AS tenant,
    terms.owner,
    terms.asset,
    CASE terms.kind WHEN 1 THEN 'wallet' WHEN 2 THEN 'system' WHEN 3 THEN 'clearing' END AS kind,
    CASE terms.status WHEN 1 THEN 'open' WHEN 2 THEN 'frozen' WHEN 3 THEN 'closed' END AS status,
    terms.min_balance,
    terms.max_balance,
    coalesce(newest.balance, 0) AS balance,
    coalesce(newest.held_after, 0) AS held,
    coalesce(newest.balance, 0) - coalesce(newest.held_after, 0) AS available,
    coalesce(newest.position, 0) AS position,
    terms.metadata
FROM accounts AS terms
LEFT JOIN tenants ON tenants.tenant = terms.tenant
LEFT JOIN LATERAL (
    SELECT entries.balance, entries.held_after, entries.position FROM entries
    WHERE entries.account = terms.account ORDER BY entries.position DESC LIMIT 1
) AS newest ON true
WHERE NOT EXISTS (
    SELECT 1 FROM accounts AS later WHERE later.account = terms.account AND later.position > terms.position
);

-- Each transaction of the log. What crosses shards began as a transfer_reserved (or, by two-phase commit, as what was sent):
-- `asked_for` is the kind that its caller asked for, and `state` what became of it.
CREATE OR REPLACE VIEW readable_transactions AS
SELECT
    readable_identifier('txn', shard.number::bigint << 51 | log.position) AS transaction,
    log.position,
    tenants.name AS tenant,
    readable_kind(log.kind) AS kind,
    CASE log.kind
        WHEN 30 THEN readable_kind((
            SELECT (sagas.terms ->> 0)::integer FROM sagas
            WHERE sagas.saga = log.position AND sagas.position = log.position
        ))
        WHEN 40 THEN 'transfer'
        WHEN 42 THEN 'transaction'
    END AS asked_for,
    CASE WHEN log.kind = 30 THEN (
        SELECT CASE WHEN sagas.status IN (1, 4) THEN 'pending' WHEN sagas.status = 3 THEN 'refused' ELSE 'posted' END
        FROM sagas WHERE sagas.saga = log.position ORDER BY sagas.position DESC LIMIT 1
    ) ELSE 'posted' END AS state,
    log.recorded_at,
    coalesce(log.effective_at, log.recorded_at) AS effective_at,
    CASE
        WHEN log.kind = 30 THEN (
            SELECT CASE (sagas.terms ->> 0)::integer
                WHEN 12 THEN readable_identifier('txn', coalesce(
                    (sagas.terms ->> 7)::bigint,
                    -- Terms of earlier versions name the credit alone.
                    (SELECT credit.refers_to FROM transactions AS credit
                     WHERE credit.position = (sagas.terms ->> 4)::bigint)
                ))
                WHEN 21 THEN readable_identifier('hold', shard.number::bigint << 51 | log.refers_to)
            END
            FROM sagas WHERE sagas.saga = log.position AND sagas.position = log.position
        )
        WHEN log.kind IN (31, 34, 35, 36, 40, 41, 42, 43) THEN readable_identifier('txn', log.refers_to)
        WHEN log.kind IN (12, 32, 33, 37, 38)
            THEN readable_identifier('txn', shard.number::bigint << 51 | log.refers_to)
        ELSE readable_identifier('hold', shard.number::bigint << 51 | log.refers_to)
    END AS refers_to,
    log.description,
    log.metadata
FROM transactions AS log
CROSS JOIN shard
LEFT JOIN tenants ON tenants.tenant = log.tenant;

-- Each change of an account, with what it left.
CREATE OR REPLACE VIEW readable_entries AS
SELECT
    readable_identifier('acct', entries.account) AS account,
    entries.account AS account_number,
    entries.position,
    readable_identifier('txn', shard.number::bigint << 51 | entries.position) AS transaction,
    readable_kind(log.kind) AS kind,
    log.recorded_at,
    coalesce(log.effective_at, log.recorded_at) AS effective_at,
    (SELECT terms.owner FROM accounts AS terms WHERE terms.account = entries.account LIMIT 1) AS owner,
    entries.asset,
    entries.amount,
    entries.balance,
    coalesce(entries.held, 0) AS held,
    coalesce(entries.held_after, 0) AS held_after,
    entries.balance - coalesce(entries.held_after, 0) AS available,
    log.description,
    log.metadata
FROM entries
JOIN transactions AS log ON log.position = entries.position
CROSS JOIN shard;

-- Each hold that still sets something aside.
CREATE OR REPLACE VIEW readable_open_holds AS
SELECT
    readable_identifier('hold', shard.number::bigint << 51 | held.hold) AS hold,
    held.hold AS hold_position,
    tenants.name AS tenant,
    CASE held.status WHEN 1 THEN 'open' WHEN 5 THEN 'capturing' END AS status,
    readable_identifier('acct', held.account) AS source,
    held.account AS source_number,
    readable_identifier('acct', held.destination) AS destination,
    held.destination AS destination_number,
    (SELECT terms.asset FROM accounts AS terms WHERE terms.account = held.account LIMIT 1) AS asset,
    held.amount,
    held.captured,
    held.amount - held.captured AS remaining,
    placed.recorded_at AS placed_at,
    held.expires_at,
    held.position
FROM holds AS held
JOIN transactions AS placed ON placed.position = held.hold
CROSS JOIN shard
LEFT JOIN tenants ON tenants.tenant = placed.tenant
WHERE held.status IN (1, 5) AND NOT EXISTS (
    SELECT 1 FROM holds AS later WHERE later.hold = held.hold AND later.position > held.position
);

-- Each transfer to another shard that has not ended. No other_shard: its payees are on several. Of those that are split,
-- `finalized` waits for confirmations, and `given_up` for revocations.
CREATE OR REPLACE VIEW readable_open_sagas AS
SELECT
    readable_identifier('txn', shard.number::bigint << 51 | begun.saga) AS transaction,
    begun.saga AS position,
    tenants.name AS tenant,
    readable_kind((begun.terms ->> 0)::integer) AS asked_for,
    (
        SELECT CASE sagas.status WHEN 1 THEN 'reserved' WHEN 2 THEN 'finalized' WHEN 4 THEN 'given_up' END
        FROM sagas WHERE sagas.saga = begun.saga ORDER BY sagas.position DESC LIMIT 1
    ) AS status,
    log.recorded_at AS reserved_at,
    nullif((begun.terms ->> 1)::integer, 0) AS other_shard,
    (
        SELECT json_object_agg(readable_identifier('acct', (leg ->> 0)::bigint), (leg ->> 1)::bigint)
        FROM json_array_elements(begun.terms -> 2) AS leg
    ) AS debits,
    (
        SELECT json_object_agg(readable_identifier('acct', (leg ->> 0)::bigint), (leg ->> 1)::bigint)
        FROM json_array_elements(begun.terms -> 3) AS leg
    ) AS credits,
    log.description
FROM sagas AS begun
JOIN transactions AS log ON log.position = begun.saga
CROSS JOIN shard
LEFT JOIN tenants ON tenants.tenant = log.tenant
WHERE begun.status = 1 AND NOT EXISTS (
    SELECT 1 FROM sagas AS ended
    WHERE ended.saga = begun.saga
        AND (ended.status IN (3, 5) OR (ended.status = 2 AND ended.counterpart IS NOT NULL))
);

-- Who reads is a member of this role. An owner who may make no roles leaves it to an administrator: see on-call.md.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallystick_reader') THEN
        CREATE ROLE tallystick_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
    NULL; -- another database of this server was migrated at the same moment
END
$$;
