--
-- PostgreSQL database dump
--

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: check_batch(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_batch() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

--
-- Name: check_batch_complete(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_batch_complete() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

--
-- Name: check_entries(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_entries() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

--
-- Name: check_requests(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_requests() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

--
-- Name: check_within_batch(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.check_within_batch() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

--
-- Name: refuse_change(); Type: FUNCTION; Schema: public; Owner: -
--

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'the log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: _yoyo_log; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._yoyo_log (
    id character varying(36) NOT NULL,
    migration_hash character varying(64),
    migration_id character varying(255),
    operation character varying(10),
    username character varying(255),
    hostname character varying(255),
    comment character varying(255),
    created_at_utc timestamp without time zone
);

--
-- Name: _yoyo_migration; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._yoyo_migration (
    migration_hash character varying(64) NOT NULL,
    migration_id character varying(255),
    applied_at_utc timestamp without time zone
);

--
-- Name: _yoyo_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public._yoyo_version (
    version integer NOT NULL,
    installed_at_utc timestamp without time zone
);

--
-- Name: accounts; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.accounts (
    account bigint NOT NULL,
    "position" bigint NOT NULL,
    tenant integer NOT NULL,
    kind smallint NOT NULL,
    status smallint NOT NULL,
    min_balance bigint,
    max_balance bigint,
    owner text NOT NULL,
    asset text NOT NULL,
    metadata json,
    CONSTRAINT accounts_check CHECK ((min_balance <= max_balance))
);

--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id text NOT NULL,
    tenant integer NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_hash_check CHECK ((length(hash) = 32))
);

--
-- Name: assets; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.assets (
    tenant integer NOT NULL,
    code text NOT NULL,
    scale smallint NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT assets_scale_check CHECK (((scale >= 0) AND (scale <= 18)))
);

--
-- Name: batches; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.batches (
    number bigint NOT NULL,
    last_position bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT batches_hash_check CHECK ((length(hash) = 32)),
    CONSTRAINT batches_previous_hash_check CHECK ((length(previous_hash) = 32))
);

--
-- Name: batch_being_written; Type: VIEW; Schema: public; Owner: -
--

CREATE VIEW public.batch_being_written AS
 SELECT newest.number,
    COALESCE(previous.last_position, (0)::bigint) AS after_position,
    newest.last_position
   FROM (( SELECT batches.number,
            batches.last_position,
            batches.xmin
           FROM public.batches
          ORDER BY batches.number DESC
         LIMIT 1) newest
     LEFT JOIN public.batches previous ON ((previous.number = (newest.number - 1))))
  WHERE (newest.xmin = (pg_current_xact_id())::xid);

--
-- Name: entries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.entries (
    account bigint NOT NULL,
    "position" bigint NOT NULL,
    amount bigint NOT NULL,
    balance bigint NOT NULL,
    held bigint,
    held_after bigint,
    bound bigint,
    asset text NOT NULL,
    CONSTRAINT balance_within_bounds CHECK (((bound IS NULL) OR ((amount < COALESCE(held, (0)::bigint)) AND ((balance - COALESCE(held_after, (0)::bigint)) >= bound)) OR ((amount >= COALESCE(held, (0)::bigint)) AND (balance <= bound)))),
    CONSTRAINT entries_held_after_check CHECK ((held_after >= 0))
);

--
-- Name: holds; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.holds (
    hold bigint NOT NULL,
    "position" bigint NOT NULL,
    account bigint NOT NULL,
    destination bigint NOT NULL,
    amount bigint NOT NULL,
    captured bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    status smallint NOT NULL,
    CONSTRAINT holds_amount_check CHECK ((amount > 0)),
    CONSTRAINT holds_check CHECK (((captured >= 0) AND (captured <= amount)))
);

--
-- Name: requests; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.requests (
    key uuid NOT NULL,
    "position" bigint,
    batch bigint,
    code smallint,
    param text,
    detail text,
    fingerprint bytea NOT NULL,
    CONSTRAINT requests_check CHECK (((num_nonnulls("position", batch) = 1) AND (num_nonnulls("position", code) = 1)))
);

--
-- Name: sagas; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.sagas (
    saga bigint NOT NULL,
    "position" bigint NOT NULL,
    status smallint NOT NULL,
    counterpart bigint,
    code smallint,
    param text,
    detail text,
    terms json,
    CONSTRAINT sagas_check CHECK ((((status = 1) = (terms IS NOT NULL)) AND ((status = 1) = (saga = "position")))),
    CONSTRAINT sagas_check1 CHECK ((((status = 2) = (counterpart IS NOT NULL)) AND ((status = 3) = (code IS NOT NULL)))),
    CONSTRAINT sagas_status_check CHECK (((status >= 1) AND (status <= 3)))
);

--
-- Name: shard; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.shard (
    number integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT shard_number_check CHECK (((number >= 1) AND (number <= 4095)))
);

--
-- Name: tenants; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tenants (
    tenant integer NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tenants_tenant_check CHECK ((tenant > 0))
);

--
-- Name: transactions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.transactions (
    "position" bigint NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    tenant integer NOT NULL,
    kind smallint NOT NULL,
    effective_at timestamp with time zone,
    refers_to bigint,
    description text,
    metadata json
);

--
-- Name: two_phase_decisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.two_phase_decisions (
    batch text NOT NULL,
    committed boolean NOT NULL,
    decided_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

--
-- Name: webhook_deliveries; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.webhook_deliveries (
    endpoint text NOT NULL,
    generation bigint DEFAULT 1 NOT NULL,
    "position" bigint NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    failing_since timestamp with time zone,
    next_attempt_at timestamp with time zone,
    parked_at timestamp with time zone,
    last_error text,
    CONSTRAINT webhook_deliveries_position_check CHECK (("position" >= 0))
);

--
-- Name: webhook_endpoints; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.webhook_endpoints (
    id text NOT NULL,
    tenant integer NOT NULL,
    url text NOT NULL,
    kinds smallint[] NOT NULL,
    owner text,
    state text NOT NULL,
    secret bytea NOT NULL,
    previous_secret bytea,
    previous_secret_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT webhook_endpoints_check CHECK (((previous_secret IS NULL) = (previous_secret_until IS NULL))),
    CONSTRAINT webhook_endpoints_previous_secret_check CHECK (((length(previous_secret) >= 24) AND (length(previous_secret) <= 64))),
    CONSTRAINT webhook_endpoints_secret_check CHECK (((length(secret) >= 24) AND (length(secret) <= 64))),
    CONSTRAINT webhook_endpoints_state_check CHECK ((state = ANY (ARRAY['active'::text, 'paused'::text, 'removed'::text]))),
    CONSTRAINT webhook_endpoints_version_check CHECK ((version > 0))
);

--
-- Name: yoyo_lock; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.yoyo_lock (
    locked integer DEFAULT 1 NOT NULL,
    ctime timestamp without time zone,
    pid integer NOT NULL
);

--
-- Data for Name: _yoyo_log; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: _yoyo_migration; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public._yoyo_migration VALUES
	('d042c4d92e5119a0a4ffb1b20fd65258d9c8e500b18e5ee1609c5fb752181650', '0001.log', '2026-11-29 17:29:28.38635'),
	('24e7b3055f4e2e1dcfaeee95de9ac87a0aecf71157db96eefc30e71bba260ef9', '0002.directory', '2026-11-29 17:29:28.473521'),
	('2dc05c7d1870f05e98be679449c2707cdd88476927051b0067cfde9418f2a0f1', '0003.batch_first', '2026-11-29 17:29:28.536625'),
	('2dcf1d9e1aabe8cf7d964d89640880564d3abcc92721fee05f0c42c95390573f', '0004.sagas', '2026-11-29 17:29:28.59982'),
	('d1c7771dcf43484f6ec0c468b57448b8020137f8a4b36e12e63930704728b63e', '0005.two_phase', '2026-11-29 17:29:28.62437'),
	('d5c850b8c773570ce37f267b9e5379f789b36933d32c21bc9c01c55e5863af79', '0006.webhooks', '2026-11-29 17:29:28.65218');

--
-- Data for Name: _yoyo_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public._yoyo_version VALUES
	(2, '2026-11-29 17:29:28.137718');

--
-- Data for Name: accounts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.accounts VALUES
	(5514763737948406, 1, 1, 1, 1, 0, NULL, 'wallet USD 1 1 0 0', 'USD', '{"name":"wallet 1"}'),
	(6047514245044859, 2, 1, 2, 1, NULL, NULL, 'system USD 2 1 1 1', 'USD', NULL),
	(6754718368620296, 3, 1, 1, 1, 0, NULL, 'wallet USD 2 1 1 1', 'USD', '{"name":"wallet 2"}'),
	(6643592291902728, 4, 1, 1, 1, 0, 5000, 'wallet USD 2 1 2 1', 'USD', NULL),
	(6288965842221653, 6, 1, 1, 1, 0, NULL, 'wallet GEM 1 1 2 2', 'GEM', NULL),
	(4538071339092616, 7, 1, 1, 1, 0, NULL, 'wallet GEM 1 2 2 2', 'GEM', NULL),
	(5963654352555515, 8, 1, 1, 1, 0, NULL, 'wallet GEM 1 3 2 2', 'GEM', NULL),
	(5736035719855908, 9, 1, 3, 1, -9223372036854775807, NULL, 'clearing with shard 1', 'USD', NULL),
	(6643592291902728, 16, 1, 1, 2, 0, 5000, 'wallet USD 2 1 2 1', 'USD', NULL),
	(6643592291902728, 17, 1, 1, 1, 0, 5000, 'wallet USD 2 1 2 1', 'USD', NULL),
	(4788201992950850, 18, 1, 1, 1, 0, NULL, 'wallet USD 2 3 2 2', 'USD', NULL),
	(4788201992950850, 19, 1, 1, 3, 0, NULL, 'wallet USD 2 3 2 2', 'USD', NULL),
	(6299540634207113, 20, 1, 2, 1, NULL, NULL, 'two system USD 1 1 0 0', 'USD', NULL),
	(4595817150237182, 21, 1, 1, 1, 0, NULL, 'two wallet USD 1 1 0 0', 'USD', '{"name":"wallet 1"}'),
	(5483983060464974, 22, 1, 2, 1, NULL, NULL, 'two system USD 2 1 1 1', 'USD', NULL),
	(6710473950757170, 23, 1, 1, 1, 0, NULL, 'two wallet USD 2 1 1 1', 'USD', '{"name":"wallet 2"}'),
	(5346263085426116, 24, 1, 1, 1, 0, 5000, 'two wallet USD 2 2 2 1', 'USD', NULL),
	(6429074029570227, 32, 1, 2, 1, NULL, NULL, 'left bank', 'USD', NULL),
	(6442479163923624, 33, 1, 1, 1, 0, NULL, 'left 1', 'USD', NULL),
	(5596107622591198, 34, 1, 1, 1, 0, NULL, 'left 2', 'USD', NULL),
	(4617422899237374, 35, 1, 1, 1, 0, NULL, 'left 3', 'USD', NULL),
	(6238885147737793, 36, 1, 1, 1, 0, NULL, 'left 4', 'USD', NULL);

--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: assets; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.assets VALUES
	(1, 'GEM', 0, 'Gems', '2026-11-29 17:29:29.442818+00');

--
-- Data for Name: batches; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.batches VALUES
	(1, 1, '2026-11-29 17:29:29.117924+00', '\x867647e93af54b9f75631a6bce5293a334701befc99b097078be70699e87b561', '\xbedd572f616d1259ce0f817b3ad7f5d2feddc11d7640723ae5f98957d52d3c1c'),
	(2, 2, '2026-11-29 17:29:29.31878+00', '\xbedd572f616d1259ce0f817b3ad7f5d2feddc11d7640723ae5f98957d52d3c1c', '\x9d604db4d65e0f06aa127881824e157b0168ca0e3e9a64c023a713a76435438e'),
	(3, 3, '2026-11-29 17:29:29.37125+00', '\x9d604db4d65e0f06aa127881824e157b0168ca0e3e9a64c023a713a76435438e', '\x030fe4fdf49c157766273196a6a143d66b3dfdf133514b94192b1a5307bf751e'),
	(4, 4, '2026-11-29 17:29:29.390728+00', '\x030fe4fdf49c157766273196a6a143d66b3dfdf133514b94192b1a5307bf751e', '\x63a9481cfb0a20875036672790fee8a08f89fae9337e911d69f23dfd38d087ba'),
	(5, 5, '2026-11-29 17:29:29.406418+00', '\x63a9481cfb0a20875036672790fee8a08f89fae9337e911d69f23dfd38d087ba', '\x7b27ccffc28a31561e05c6e216cd50bd71ad6bf3551b496350665780446b566a'),
	(6, 6, '2026-11-29 17:29:29.539305+00', '\x7b27ccffc28a31561e05c6e216cd50bd71ad6bf3551b496350665780446b566a', '\x534417294b4c63d9fdc2197d4930855a4c7e46b2bb00aa9050a2e17eafd63309'),
	(7, 7, '2026-11-29 17:29:29.587691+00', '\x534417294b4c63d9fdc2197d4930855a4c7e46b2bb00aa9050a2e17eafd63309', '\xd9fa3ea86579a28bb6d8fe061edcb3eb4c496b59326d99fb2caf411b468e970b'),
	(8, 8, '2026-11-29 17:29:29.642884+00', '\xd9fa3ea86579a28bb6d8fe061edcb3eb4c496b59326d99fb2caf411b468e970b', '\x609fc6a9fe70ee140ee13fe21845fac62c443f9a1f6a0073aabe74e4bfaead5f'),
	(9, 10, '2026-11-29 17:29:29.793646+00', '\x609fc6a9fe70ee140ee13fe21845fac62c443f9a1f6a0073aabe74e4bfaead5f', '\x0e96108b5c0f02431d12c28f5c9a4b5dfd0a0ece71be9b65a2de0a895b8fa495'),
	(10, 11, '2026-11-29 17:29:29.878807+00', '\x0e96108b5c0f02431d12c28f5c9a4b5dfd0a0ece71be9b65a2de0a895b8fa495', '\xc7f294dcc81cf1bf2ac858c08c5536253d3ec678697e739ecca4bb9e602b5c1c'),
	(11, 12, '2026-11-29 17:29:29.893693+00', '\xc7f294dcc81cf1bf2ac858c08c5536253d3ec678697e739ecca4bb9e602b5c1c', '\x7b4b99e16bb6da8b957650cc74d9f1b4da19644771b9f91e98e6e169a7493180'),
	(12, 13, '2026-11-29 17:29:29.919605+00', '\x7b4b99e16bb6da8b957650cc74d9f1b4da19644771b9f91e98e6e169a7493180', '\xaa950fdfb2ec911ce4a28116deee0179265e6efea69ae9f79bf2bcb0c5ad8101'),
	(13, 14, '2026-11-29 17:29:29.949158+00', '\xaa950fdfb2ec911ce4a28116deee0179265e6efea69ae9f79bf2bcb0c5ad8101', '\xc54c62eb70984a43d260dbcbfb3ee729adb39f9903dfe1b1df522dda26d38a01'),
	(14, 15, '2026-11-29 17:29:29.987076+00', '\xc54c62eb70984a43d260dbcbfb3ee729adb39f9903dfe1b1df522dda26d38a01', '\xceeee8c9ac9aa38debfcb8fc6c976e4dc6fb4bdd0ec42e578c0049dc5ec93680'),
	(15, 16, '2026-11-29 17:29:29.996424+00', '\xceeee8c9ac9aa38debfcb8fc6c976e4dc6fb4bdd0ec42e578c0049dc5ec93680', '\xe0a81460359bd4f35b94eaae75732f2fcb4c29ca96a730e4a0493bd7c34b1c31'),
	(16, 17, '2026-11-29 17:29:30.00043+00', '\xe0a81460359bd4f35b94eaae75732f2fcb4c29ca96a730e4a0493bd7c34b1c31', '\xaf527e880dbe69d18da15b90d146fbd69f45350648caa864b284ab9a2cf5199d'),
	(17, 18, '2026-11-29 17:29:30.056373+00', '\xaf527e880dbe69d18da15b90d146fbd69f45350648caa864b284ab9a2cf5199d', '\xa82cc03217db06739c2504fe46515cd71ec26d0d5e78a9ee1fe048dfe2c529ef'),
	(18, 19, '2026-11-29 17:29:30.066915+00', '\xa82cc03217db06739c2504fe46515cd71ec26d0d5e78a9ee1fe048dfe2c529ef', '\x3ff46b46cd4010179aef2759ea33b9b69ec13110fb333f7241784dd7ba4da286'),
	(19, 19, '2026-11-29 17:29:30.08076+00', '\x3ff46b46cd4010179aef2759ea33b9b69ec13110fb333f7241784dd7ba4da286', '\x2a79585811e6d9e91d8d08725a4b8895fae58b2278a23f81c4e843643c9ff7ba'),
	(20, 20, '2026-11-29 17:29:33.41643+00', '\x2a79585811e6d9e91d8d08725a4b8895fae58b2278a23f81c4e843643c9ff7ba', '\x4d60bacbe1c7e5e30e935b20244762ea8beee0b19fb36d6372b06c0a3a740f0e'),
	(21, 21, '2026-11-29 17:29:33.538852+00', '\x4d60bacbe1c7e5e30e935b20244762ea8beee0b19fb36d6372b06c0a3a740f0e', '\xa3382fb205aaaf4ea79b62d4109d665481ff6fc3cb13c9a14f026a60d815bd15'),
	(22, 22, '2026-11-29 17:29:33.648986+00', '\xa3382fb205aaaf4ea79b62d4109d665481ff6fc3cb13c9a14f026a60d815bd15', '\xa28dfcdbe4dc997e4e5eaf8419c4d454ce54f3ed9d24516c5eb0181720c92404'),
	(23, 23, '2026-11-29 17:29:33.674625+00', '\xa28dfcdbe4dc997e4e5eaf8419c4d454ce54f3ed9d24516c5eb0181720c92404', '\xb9779e4e7feea926d3a148ce342aa06225985a3936972f714b9c13684caa7201'),
	(24, 24, '2026-11-29 17:29:33.726273+00', '\xb9779e4e7feea926d3a148ce342aa06225985a3936972f714b9c13684caa7201', '\x1e94a0ffff006194535b646b85e23ec34b9e23266ffd5a7f912d2b11495d1583'),
	(25, 25, '2026-11-29 17:29:33.739737+00', '\x1e94a0ffff006194535b646b85e23ec34b9e23266ffd5a7f912d2b11495d1583', '\x5fdfe5cc2c480d42fe7fa0b7e5e23ae874bfaad06892c7595f6351f5fd6d36a0'),
	(26, 26, '2026-11-29 17:29:33.866112+00', '\x5fdfe5cc2c480d42fe7fa0b7e5e23ae874bfaad06892c7595f6351f5fd6d36a0', '\xe6ee731164df42ced32c12a576b8806d29fca0f85186e43eda4521f30b32ef12'),
	(27, 27, '2026-11-29 17:29:33.953842+00', '\xe6ee731164df42ced32c12a576b8806d29fca0f85186e43eda4521f30b32ef12', '\xdb434ebd5e0836d317f1a3c1541ac9650f4e57f642d2a89619267ec857a808bf'),
	(28, 28, '2026-11-29 17:29:34.001722+00', '\xdb434ebd5e0836d317f1a3c1541ac9650f4e57f642d2a89619267ec857a808bf', '\xd965776ffea2e501b85793dadcbb4d3625b7798be0b76b3760c5f2e3fcacb473'),
	(29, 29, '2026-11-29 17:29:34.030056+00', '\xd965776ffea2e501b85793dadcbb4d3625b7798be0b76b3760c5f2e3fcacb473', '\xa44f08b1aaa34756ad5db184642f1c7f93b458c5016c5a132ad05330a73b1e42'),
	(30, 30, '2026-11-29 17:29:34.081112+00', '\xa44f08b1aaa34756ad5db184642f1c7f93b458c5016c5a132ad05330a73b1e42', '\xb4572509086faa742662bf28e89572c3e5d11ef578a0f45678f3688060abd21d'),
	(31, 31, '2026-11-29 17:29:34.147041+00', '\xb4572509086faa742662bf28e89572c3e5d11ef578a0f45678f3688060abd21d', '\x63168706f77e4e2cc5e61dd19d817fbc3fb026fad697a458c0d27faa4270b517'),
	(32, 32, '2026-11-29 17:29:34.518137+00', '\x63168706f77e4e2cc5e61dd19d817fbc3fb026fad697a458c0d27faa4270b517', '\xcc7591b63b5e0375f79ba3620b98462fefd3637ce9af42f89b65dcd35bd93e83'),
	(33, 33, '2026-11-29 17:29:34.591225+00', '\xcc7591b63b5e0375f79ba3620b98462fefd3637ce9af42f89b65dcd35bd93e83', '\x668b379010a329b3fb9546cb0b0ccdc7a569f65b3d52b0adefff6c54e31359fd'),
	(34, 34, '2026-11-29 17:29:34.650173+00', '\x668b379010a329b3fb9546cb0b0ccdc7a569f65b3d52b0adefff6c54e31359fd', '\x06db8518a68075a038fd5918dab3db99c9a710b87bd84c22228e6073edabb4f6'),
	(35, 35, '2026-11-29 17:29:34.681683+00', '\x06db8518a68075a038fd5918dab3db99c9a710b87bd84c22228e6073edabb4f6', '\x2c49b0b066b543559a0d5d34e9aa5ecbd9f05b74089e46e7185bb8371ec8a579'),
	(36, 36, '2026-11-29 17:29:34.721666+00', '\x2c49b0b066b543559a0d5d34e9aa5ecbd9f05b74089e46e7185bb8371ec8a579', '\xa841f7d1be26266f9ff1a947399a29ed7d6e4cb184afb397ad9c784bad528776'),
	(37, 37, '2026-11-29 17:29:34.85114+00', '\xa841f7d1be26266f9ff1a947399a29ed7d6e4cb184afb397ad9c784bad528776', '\x9cfcf840f8297e4b748ab4138e2e0dc0d1b6d11a8c42b3d5bdb69e632542b2e3');

--
-- Data for Name: entries; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.entries VALUES
	(6047514245044859, 5, -10000, -10000, NULL, NULL, NULL, 'USD'),
	(6754718368620296, 5, 10000, 10000, NULL, NULL, NULL, 'USD'),
	(5736035719855908, 10, -30, -30, NULL, NULL, -9223372036854775807, 'USD'),
	(6643592291902728, 10, 10, 10, NULL, NULL, 5000, 'USD'),
	(6754718368620296, 10, 20, 10020, NULL, NULL, NULL, 'USD'),
	(6754718368620296, 11, 0, 10020, 70, 70, 0, 'USD'),
	(5736035719855908, 12, -120, -150, NULL, NULL, -9223372036854775807, 'USD'),
	(6643592291902728, 12, 120, 130, NULL, NULL, 5000, 'USD'),
	(5736035719855908, 13, -100, -250, NULL, NULL, -9223372036854775807, 'USD'),
	(6643592291902728, 13, 100, 230, NULL, NULL, 5000, 'USD'),
	(6643592291902728, 14, 0, 230, 30, 30, 0, 'USD'),
	(5736035719855908, 15, 30, -220, NULL, NULL, NULL, 'USD'),
	(6643592291902728, 15, -30, 200, -30, NULL, NULL, 'USD'),
	(5483983060464974, 25, -10000, -10000, NULL, NULL, NULL, 'USD'),
	(6710473950757170, 25, 10000, 10000, NULL, NULL, NULL, 'USD'),
	(5346263085426116, 26, 100, 100, NULL, NULL, 5000, 'USD'),
	(5736035719855908, 26, -100, -320, NULL, NULL, -9223372036854775807, 'USD'),
	(5736035719855908, 27, 50, -270, NULL, NULL, NULL, 'USD'),
	(6710473950757170, 27, -50, 9950, NULL, NULL, 0, 'USD'),
	(5346263085426116, 28, 10, 110, NULL, NULL, 5000, 'USD'),
	(5736035719855908, 28, -30, -300, NULL, NULL, -9223372036854775807, 'USD'),
	(6710473950757170, 28, 20, 9970, NULL, NULL, NULL, 'USD'),
	(5346263085426116, 29, 0, 110, 30, 30, 0, 'USD'),
	(5346263085426116, 30, -30, 80, -30, NULL, NULL, 'USD'),
	(5736035719855908, 30, 30, -270, NULL, NULL, NULL, 'USD'),
	(5346263085426116, 31, 120, 200, NULL, NULL, 5000, 'USD'),
	(5736035719855908, 31, -120, -390, NULL, NULL, -9223372036854775807, 'USD'),
	(6429074029570227, 37, 0, 0, 77, 77, NULL, 'USD');

--
-- Data for Name: holds; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.holds VALUES
	(11, 11, 6754718368620296, 6643592291902728, 70, 0, '2026-12-06 17:29:29.878807+00', 1);

--
-- Data for Name: requests; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.requests VALUES
	('efd02e82-5146-472a-84a5-de13477e1e05', 5, NULL, NULL, NULL, NULL, '\x9703cf00157c2ea2599a7bcf0017ff616ceb5f08cd2710a3555344a566756e6473a97b2261223a2262227d'),
	('0594fb5f-1237-a212-2d8e-66d44787568f', 10, NULL, NULL, NULL, NULL, '\x000800000000000c'),
	('41effeb4-038d-9a56-e1dd-98b31a471a5a', 11, NULL, NULL, NULL, NULL, '\x9605cf0017ff616ceb5f08cf00179a4fde97650846a3555344ce00093a80'),
	('4a0ff8fd-3df2-80fd-97f2-6aaf357ffa9b', 12, NULL, NULL, NULL, NULL, '\x000800000000001b'),
	('fcc44904-6100-93db-7e54-03b4df3e8c33', 13, NULL, NULL, NULL, NULL, '\x000800000000001d'),
	('498a8e54-570b-60b2-a835-4c53466eef23', 14, NULL, NULL, NULL, NULL, '\x9308cf000800000000001d1e'),
	('b12467a2-64c9-7e66-bbdc-082ab926dab2', NULL, 19, 70, 'destination', 'The account is closed. Reopen it first.', '\x0008000000000022'),
	('6de9ea1a-885d-9049-4904-4706650e273b', 25, NULL, NULL, NULL, NULL, '\x9703cf00137ba74e45f54ecf0017d723f81c0132cd2710a3555344a566756e6473a97b2261223a2262227d'),
	('11c88e1e-d2ff-2061-0203-1c44ce7e4842', 27, NULL, NULL, NULL, NULL, '\x9603cf0017d723f81c0132cf0008729954ce406332a3555344a46261636b'),
	('1cad7092-9200-a726-bf2e-472373cee67a', 29, NULL, NULL, NULL, NULL, '\x9308cf000800000000002a1e'),
	('481b8324-da76-c08f-c898-118a35155584', 31, NULL, NULL, NULL, NULL, '\x000800000000002f'),
	('af590048-99b3-dfcb-bdf1-a12342dd5a6b', 37, NULL, NULL, NULL, NULL, '\x9503cf0016d73571c468b3cf000f6fb24e24b5744da3555344');

--
-- Data for Name: sagas; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sagas VALUES
	(14, 14, 1, NULL, NULL, NULL, NULL, '[12,1,[[6643592291902728,30,"USD","id"]],[[3181308311123195,30,"USD","id"]],13,false]'),
	(14, 15, 2, 31, NULL, NULL, NULL, NULL),
	(29, 29, 1, NULL, NULL, NULL, NULL, '[12,1,[[5346263085426116,30,"USD","id"]],[[3563739406854317,30,"USD","id"]],26,false]'),
	(29, 30, 2, 45, NULL, NULL, NULL, NULL),
	(37, 37, 1, NULL, NULL, NULL, NULL, '[10,1,[[6429074029570227,77,"USD","source"]],[[4344936256550260,77,"USD","destination"]],null,false]');

--
-- Data for Name: shard; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.shard VALUES
	(2, '2026-11-29 17:29:28.667594+00');

--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tenants VALUES
	(1, 'default', '2026-11-29 17:29:28.41134+00');

--
-- Data for Name: transactions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.transactions VALUES
	(1, '2026-11-29 17:29:29.117924+00', 1, 1, NULL, NULL, NULL, NULL),
	(2, '2026-11-29 17:29:29.31878+00', 1, 1, NULL, NULL, NULL, NULL),
	(3, '2026-11-29 17:29:29.37125+00', 1, 1, NULL, NULL, NULL, NULL),
	(4, '2026-11-29 17:29:29.390728+00', 1, 1, NULL, NULL, NULL, NULL),
	(5, '2026-11-29 17:29:29.406418+00', 1, 10, NULL, NULL, 'funds', '{"a":"b"}'),
	(6, '2026-11-29 17:29:29.539305+00', 1, 1, NULL, NULL, NULL, NULL),
	(7, '2026-11-29 17:29:29.587691+00', 1, 1, NULL, NULL, NULL, NULL),
	(8, '2026-11-29 17:29:29.642884+00', 1, 1, NULL, NULL, NULL, NULL),
	(9, '2026-11-29 17:29:29.793646+00', 1, 1, NULL, NULL, NULL, NULL),
	(10, '2026-11-29 17:29:29.793646+00', 1, 31, NULL, 2251799813685260, NULL, NULL),
	(11, '2026-11-29 17:29:29.878807+00', 1, 20, NULL, NULL, NULL, NULL),
	(12, '2026-11-29 17:29:29.893693+00', 1, 31, NULL, 2251799813685275, NULL, NULL),
	(13, '2026-11-29 17:29:29.919605+00', 1, 31, NULL, 2251799813685277, NULL, NULL),
	(14, '2026-11-29 17:29:29.949158+00', 1, 30, NULL, 13, NULL, NULL),
	(15, '2026-11-29 17:29:29.987076+00', 1, 32, NULL, 14, NULL, NULL),
	(16, '2026-11-29 17:29:29.996424+00', 1, 2, NULL, NULL, NULL, NULL),
	(17, '2026-11-29 17:29:30.00043+00', 1, 2, NULL, NULL, NULL, NULL),
	(18, '2026-11-29 17:29:30.056373+00', 1, 1, NULL, NULL, NULL, NULL),
	(19, '2026-11-29 17:29:30.066915+00', 1, 2, NULL, NULL, NULL, NULL),
	(20, '2026-11-29 17:29:33.41643+00', 1, 1, NULL, NULL, NULL, NULL),
	(21, '2026-11-29 17:29:33.538852+00', 1, 1, NULL, NULL, NULL, NULL),
	(22, '2026-11-29 17:29:33.648986+00', 1, 1, NULL, NULL, NULL, NULL),
	(23, '2026-11-29 17:29:33.674625+00', 1, 1, NULL, NULL, NULL, NULL),
	(24, '2026-11-29 17:29:33.726273+00', 1, 1, NULL, NULL, NULL, NULL),
	(25, '2026-11-29 17:29:33.739737+00', 1, 10, NULL, NULL, 'funds', '{"a":"b"}'),
	(26, '2026-11-29 17:29:33.866112+00', 1, 41, NULL, 2251799813685290, NULL, NULL),
	(27, '2026-11-29 17:29:33.953842+00', 1, 40, NULL, 2251799813685291, 'back', NULL),
	(28, '2026-11-29 17:29:34.001722+00', 1, 43, NULL, 2251799813685292, NULL, NULL),
	(29, '2026-11-29 17:29:34.030056+00', 1, 30, NULL, 26, NULL, NULL),
	(30, '2026-11-29 17:29:34.081112+00', 1, 32, NULL, 29, NULL, NULL),
	(31, '2026-11-29 17:29:34.147041+00', 1, 31, NULL, 2251799813685295, NULL, NULL),
	(32, '2026-11-29 17:29:34.518137+00', 1, 1, NULL, NULL, NULL, NULL),
	(33, '2026-11-29 17:29:34.591225+00', 1, 1, NULL, NULL, NULL, NULL),
	(34, '2026-11-29 17:29:34.650173+00', 1, 1, NULL, NULL, NULL, NULL),
	(35, '2026-11-29 17:29:34.681683+00', 1, 1, NULL, NULL, NULL, NULL),
	(36, '2026-11-29 17:29:34.721666+00', 1, 1, NULL, NULL, NULL, NULL),
	(37, '2026-11-29 17:29:34.85114+00', 1, 30, NULL, NULL, NULL, NULL);

--
-- Data for Name: two_phase_decisions; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: webhook_deliveries; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: webhook_endpoints; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: yoyo_lock; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Name: _yoyo_log _yoyo_log_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._yoyo_log
    ADD CONSTRAINT _yoyo_log_pkey PRIMARY KEY (id);

--
-- Name: _yoyo_migration _yoyo_migration_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._yoyo_migration
    ADD CONSTRAINT _yoyo_migration_pkey PRIMARY KEY (migration_hash);

--
-- Name: _yoyo_version _yoyo_version_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public._yoyo_version
    ADD CONSTRAINT _yoyo_version_pkey PRIMARY KEY (version);

--
-- Name: accounts accounts_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account, "position");

--
-- Name: api_keys api_keys_hash_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_hash_key UNIQUE (hash);

--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

--
-- Name: assets assets_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_pkey PRIMARY KEY (tenant, code);

--
-- Name: batches batches_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (number);

--
-- Name: entries entries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (account, "position");

--
-- Name: holds holds_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (hold, "position");

--
-- Name: requests requests_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.requests
    ADD CONSTRAINT requests_pkey PRIMARY KEY (key);

--
-- Name: sagas sagas_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.sagas
    ADD CONSTRAINT sagas_pkey PRIMARY KEY (saga, "position");

--
-- Name: tenants tenants_name_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_name_key UNIQUE (name);

--
-- Name: tenants tenants_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tenants
    ADD CONSTRAINT tenants_pkey PRIMARY KEY (tenant);

--
-- Name: transactions transactions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.transactions
    ADD CONSTRAINT transactions_pkey PRIMARY KEY ("position");

--
-- Name: two_phase_decisions two_phase_decisions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.two_phase_decisions
    ADD CONSTRAINT two_phase_decisions_pkey PRIMARY KEY (batch);

--
-- Name: webhook_deliveries webhook_deliveries_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (endpoint);

--
-- Name: webhook_endpoints webhook_endpoints_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_pkey PRIMARY KEY (id);

--
-- Name: yoyo_lock yoyo_lock_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.yoyo_lock
    ADD CONSTRAINT yoyo_lock_pkey PRIMARY KEY (locked);

--
-- Name: accounts_owner; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX accounts_owner ON public.accounts USING btree (tenant, owner, account);

--
-- Name: accounts_position; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX accounts_position ON public.accounts USING btree ("position");

--
-- Name: batches_recorded_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX batches_recorded_at ON public.batches USING btree (recorded_at, number);

--
-- Name: entries_position; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX entries_position ON public.entries USING btree ("position");

--
-- Name: holds_expires_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX holds_expires_at ON public.holds USING btree (expires_at, hold) WHERE (status = 1);

--
-- Name: holds_position; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX holds_position ON public.holds USING btree ("position");

--
-- Name: requests_refused; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX requests_refused ON public.requests USING btree (batch) WHERE (batch IS NOT NULL);

--
-- Name: sagas_end; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX sagas_end ON public.sagas USING btree (saga) WHERE (status <> 1);

--
-- Name: sagas_position; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX sagas_position ON public.sagas USING btree ("position");

--
-- Name: sagas_reserved; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX sagas_reserved ON public.sagas USING btree (saga) WHERE (status = 1);

--
-- Name: shard_is_one; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX shard_is_one ON public.shard USING btree ((true));

--
-- Name: transactions_refers_to; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX transactions_refers_to ON public.transactions USING btree (refers_to) WHERE (refers_to IS NOT NULL);

--
-- Name: webhook_endpoints_tenant; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX webhook_endpoints_tenant ON public.webhook_endpoints USING btree (tenant, created_at, id);

--
-- Name: accounts accounts_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER accounts_within_batch AFTER INSERT ON public.accounts REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_within_batch();

ALTER TABLE public.accounts ENABLE ALWAYS TRIGGER accounts_within_batch;

--
-- Name: batches batches_complete; Type: TRIGGER; Schema: public; Owner: -
--

CREATE CONSTRAINT TRIGGER batches_complete AFTER INSERT ON public.batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.check_batch_complete();

ALTER TABLE public.batches ENABLE ALWAYS TRIGGER batches_complete;

--
-- Name: batches batches_continue_log; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER batches_continue_log AFTER INSERT ON public.batches FOR EACH ROW EXECUTE FUNCTION public.check_batch();

ALTER TABLE public.batches ENABLE ALWAYS TRIGGER batches_continue_log;

--
-- Name: entries entries_balanced; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER entries_balanced AFTER INSERT ON public.entries REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_entries();

ALTER TABLE public.entries ENABLE ALWAYS TRIGGER entries_balanced;

--
-- Name: entries entries_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER entries_within_batch AFTER INSERT ON public.entries REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_within_batch();

ALTER TABLE public.entries ENABLE ALWAYS TRIGGER entries_within_batch;

--
-- Name: holds holds_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER holds_within_batch AFTER INSERT ON public.holds REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_within_batch();

ALTER TABLE public.holds ENABLE ALWAYS TRIGGER holds_within_batch;

--
-- Name: accounts immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.accounts FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.accounts ENABLE ALWAYS TRIGGER immutable;

--
-- Name: batches immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.batches FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.batches ENABLE ALWAYS TRIGGER immutable;

--
-- Name: entries immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.entries FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.entries ENABLE ALWAYS TRIGGER immutable;

--
-- Name: holds immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.holds FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.holds ENABLE ALWAYS TRIGGER immutable;

--
-- Name: requests immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.requests FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.requests ENABLE ALWAYS TRIGGER immutable;

--
-- Name: sagas immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.sagas FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.sagas ENABLE ALWAYS TRIGGER immutable;

--
-- Name: transactions immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.transactions FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.transactions ENABLE ALWAYS TRIGGER immutable;

--
-- Name: two_phase_decisions immutable; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER immutable BEFORE DELETE OR UPDATE OR TRUNCATE ON public.two_phase_decisions FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE public.two_phase_decisions ENABLE ALWAYS TRIGGER immutable;

--
-- Name: requests requests_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER requests_within_batch AFTER INSERT ON public.requests REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_requests();

ALTER TABLE public.requests ENABLE ALWAYS TRIGGER requests_within_batch;

--
-- Name: sagas sagas_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER sagas_within_batch AFTER INSERT ON public.sagas REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_within_batch();

ALTER TABLE public.sagas ENABLE ALWAYS TRIGGER sagas_within_batch;

--
-- Name: transactions transactions_within_batch; Type: TRIGGER; Schema: public; Owner: -
--

CREATE TRIGGER transactions_within_batch AFTER INSERT ON public.transactions REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION public.check_within_batch();

ALTER TABLE public.transactions ENABLE ALWAYS TRIGGER transactions_within_batch;

--
-- Name: api_keys api_keys_tenant_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_tenant_fkey FOREIGN KEY (tenant) REFERENCES public.tenants(tenant);

--
-- Name: assets assets_tenant_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_tenant_fkey FOREIGN KEY (tenant) REFERENCES public.tenants(tenant);

--
-- Name: webhook_deliveries webhook_deliveries_endpoint_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_deliveries
    ADD CONSTRAINT webhook_deliveries_endpoint_fkey FOREIGN KEY (endpoint) REFERENCES public.webhook_endpoints(id);

--
-- Name: webhook_endpoints webhook_endpoints_tenant_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.webhook_endpoints
    ADD CONSTRAINT webhook_endpoints_tenant_fkey FOREIGN KEY (tenant) REFERENCES public.tenants(tenant);

--
-- Name: TABLE _yoyo_migration; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public._yoyo_migration TO tallystick_server;

--
-- Name: TABLE accounts; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.accounts TO tallystick_server;

--
-- Name: TABLE api_keys; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.api_keys TO tallystick_server;

--
-- Name: COLUMN api_keys.revoked_at; Type: ACL; Schema: public; Owner: -
--

GRANT UPDATE(revoked_at) ON TABLE public.api_keys TO tallystick_server;

--
-- Name: TABLE assets; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.assets TO tallystick_server;

--
-- Name: TABLE batches; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.batches TO tallystick_server;

--
-- Name: TABLE batch_being_written; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.batch_being_written TO tallystick_server;

--
-- Name: TABLE entries; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.entries TO tallystick_server;

--
-- Name: TABLE holds; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.holds TO tallystick_server;

--
-- Name: TABLE requests; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.requests TO tallystick_server;

--
-- Name: TABLE sagas; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.sagas TO tallystick_server;

--
-- Name: TABLE shard; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT ON TABLE public.shard TO tallystick_server;

--
-- Name: TABLE tenants; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.tenants TO tallystick_server;

--
-- Name: TABLE transactions; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.transactions TO tallystick_server;

--
-- Name: TABLE two_phase_decisions; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT ON TABLE public.two_phase_decisions TO tallystick_server;

--
-- Name: TABLE webhook_deliveries; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.webhook_deliveries TO tallystick_server;

--
-- Name: TABLE webhook_endpoints; Type: ACL; Schema: public; Owner: -
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.webhook_endpoints TO tallystick_server;

--
-- PostgreSQL database dump complete
--

