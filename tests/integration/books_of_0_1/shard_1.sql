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
	('d042c4d92e5119a0a4ffb1b20fd65258d9c8e500b18e5ee1609c5fb752181650', '0001.log', '2026-11-29 17:29:27.181743'),
	('24e7b3055f4e2e1dcfaeee95de9ac87a0aecf71157db96eefc30e71bba260ef9', '0002.directory', '2026-11-29 17:29:27.26037'),
	('2dc05c7d1870f05e98be679449c2707cdd88476927051b0067cfde9418f2a0f1', '0003.batch_first', '2026-11-29 17:29:27.314255'),
	('2dcf1d9e1aabe8cf7d964d89640880564d3abcc92721fee05f0c42c95390573f', '0004.sagas', '2026-11-29 17:29:27.393569'),
	('d1c7771dcf43484f6ec0c468b57448b8020137f8a4b36e12e63930704728b63e', '0005.two_phase', '2026-11-29 17:29:27.421826'),
	('d5c850b8c773570ce37f267b9e5379f789b36933d32c21bc9c01c55e5863af79', '0006.webhooks', '2026-11-29 17:29:27.507254');

--
-- Data for Name: _yoyo_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public._yoyo_version VALUES
	(2, '2026-11-29 17:29:26.933299');

--
-- Data for Name: accounts; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.accounts VALUES
	(3506967000021659, 1, 1, 2, 1, NULL, NULL, 'system USD 1 1 0 0', 'USD', NULL),
	(3181308311123195, 2, 1, 1, 1, 0, NULL, 'wallet USD 1 2 0 0', 'USD', '{"name":"wallet 1"}'),
	(2369466647128188, 3, 1, 1, 1, 0, 5000, 'wallet USD 1 1 1 0', 'USD', NULL),
	(4438104899554407, 5, 1, 2, 1, NULL, NULL, 'system GEM 1 1 2 2', 'GEM', NULL),
	(3114484422017866, 6, 1, 1, 1, 0, NULL, 'wallet GEM 1 4 2 2', 'GEM', NULL),
	(3370543184061383, 13, 1, 3, 1, -9223372036854775807, NULL, 'clearing with shard 2', 'USD', NULL),
	(3913932283981791, 32, 1, 1, 1, 0, NULL, 'wallet USD 2 1 2 2', 'USD', NULL),
	(2725676690908854, 33, 1, 1, 1, 0, NULL, 'wallet USD 2 2 2 2', 'USD', NULL),
	(2541918294424196, 37, 1, 2, 1, NULL, NULL, 'two system USD 1 2 0 0', 'USD', NULL),
	(3563739406854317, 38, 1, 1, 1, 0, NULL, 'two wallet USD 1 2 0 0', 'USD', '{"name":"wallet 1"}'),
	(2377802692051043, 39, 1, 1, 1, 0, 5000, 'two wallet USD 1 1 1 0', 'USD', NULL),
	(3327893930787258, 41, 1, 1, 1, 0, 5000, 'two wallet USD 2 1 2 1', 'USD', NULL),
	(4344936256550260, 49, 1, 1, 1, 0, NULL, 'left 5', 'USD', NULL);

--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: public; Owner: -
--

--
-- Data for Name: assets; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.assets VALUES
	(1, 'GEM', 0, 'Gems', '2026-11-29 17:29:29.437399+00');

--
-- Data for Name: batches; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.batches VALUES
	(1, 1, '2026-11-29 17:29:28.962162+00', '\xd306e0eba7eacc2c0a5c29e92b382920510a2b1de390d29c6a6a5e6f5565a0f3', '\xc49d23395db158d5cb67bb0ff65b5b403c336dc109a894b756739e25f7f3ce72'),
	(2, 2, '2026-11-29 17:29:29.246406+00', '\xc49d23395db158d5cb67bb0ff65b5b403c336dc109a894b756739e25f7f3ce72', '\xb7a319412b611f2a9778f198d19178f363e5c1b0a97a4d647f1b1c31f12a8357'),
	(3, 3, '2026-11-29 17:29:29.2779+00', '\xb7a319412b611f2a9778f198d19178f363e5c1b0a97a4d647f1b1c31f12a8357', '\xca48c395552f8325801457cbf8d3155b52fd3e826de3bcc8ac8e83f3016866cc'),
	(4, 4, '2026-11-29 17:29:29.288852+00', '\xca48c395552f8325801457cbf8d3155b52fd3e826de3bcc8ac8e83f3016866cc', '\xae71eceadd4b22179b2234c1f281dd6404e093c0a9373e8016d0e1b66c9917fe'),
	(5, 5, '2026-11-29 17:29:29.506482+00', '\xae71eceadd4b22179b2234c1f281dd6404e093c0a9373e8016d0e1b66c9917fe', '\x4a852df586efc3166e6a2fc42041f22e71516181124edb5ff0b219ba3501d93b'),
	(6, 6, '2026-11-29 17:29:29.673078+00', '\x4a852df586efc3166e6a2fc42041f22e71516181124edb5ff0b219ba3501d93b', '\xef9579d8ad2db26300e80013b1317807bf948d415033563f6455e402985f13c8'),
	(7, 7, '2026-11-29 17:29:29.67805+00', '\xef9579d8ad2db26300e80013b1317807bf948d415033563f6455e402985f13c8', '\x691ca5f7f4835f1ec6d60189e89f703f664b0973fca46d9c80b44149bd11f69d'),
	(8, 7, '2026-11-29 17:29:29.683139+00', '\x691ca5f7f4835f1ec6d60189e89f703f664b0973fca46d9c80b44149bd11f69d', '\x780440eaf3840f004d04324e805499a434ac6f035f1839e65ca3de19e9b5bca9'),
	(9, 7, '2026-11-29 17:29:29.68567+00', '\x780440eaf3840f004d04324e805499a434ac6f035f1839e65ca3de19e9b5bca9', '\x4908baf1ba095126534491597ae99124dbe6c95c97feabc8b497d98df2988bd8'),
	(10, 8, '2026-11-29 17:29:29.689939+00', '\x4908baf1ba095126534491597ae99124dbe6c95c97feabc8b497d98df2988bd8', '\x4ece453494155d516279521d99ab38aa641120e94f77481ec7299b1677d25ff0'),
	(11, 9, '2026-11-29 17:29:29.694033+00', '\x4ece453494155d516279521d99ab38aa641120e94f77481ec7299b1677d25ff0', '\xbb2bfd7738817f7c7cdc06787079c30ca043531938dfb93a47e8c9bb67cd20d0'),
	(12, 10, '2026-11-29 17:29:29.715629+00', '\xbb2bfd7738817f7c7cdc06787079c30ca043531938dfb93a47e8c9bb67cd20d0', '\xaabda9fd67bbb2ae6a9dd27896649e49526738aa4e4add3877e8879e19095230'),
	(13, 11, '2026-11-29 17:29:29.749526+00', '\xaabda9fd67bbb2ae6a9dd27896649e49526738aa4e4add3877e8879e19095230', '\xeb84d5bf9a93423a08ffc07e5f90c4807f46751015ea8bf2fc8d290136703572'),
	(14, 12, '2026-11-29 17:29:29.773222+00', '\xeb84d5bf9a93423a08ffc07e5f90c4807f46751015ea8bf2fc8d290136703572', '\x9f917d55ded3fa62dec833066f39173f9d599a6f47ba628e7c5b7c5846d9fd97'),
	(15, 14, '2026-11-29 17:29:29.80627+00', '\x9f917d55ded3fa62dec833066f39173f9d599a6f47ba628e7c5b7c5846d9fd97', '\x86990b6442840b0767f868f2ff1fbc070c48cd2d731402cb9f47d28a177ef10e'),
	(16, 19, '2026-11-29 17:29:29.822449+00', '\x86990b6442840b0767f868f2ff1fbc070c48cd2d731402cb9f47d28a177ef10e', '\xcc48c29335a6b1f4c3cfca0f09c9809dac793847bf3718b5f8291c04bb474e68'),
	(17, 20, '2026-11-29 17:29:29.841143+00', '\xcc48c29335a6b1f4c3cfca0f09c9809dac793847bf3718b5f8291c04bb474e68', '\x3fe0e3dc999b0548b5e77c6e92f06509a87a4b466293c8de299a7414d19a653b'),
	(18, 21, '2026-11-29 17:29:29.848195+00', '\x3fe0e3dc999b0548b5e77c6e92f06509a87a4b466293c8de299a7414d19a653b', '\xe0f6f336ca0afde64f3a657843210943691b16598d1e3ea38e2c906400997d79'),
	(19, 22, '2026-11-29 17:29:29.860378+00', '\xe0f6f336ca0afde64f3a657843210943691b16598d1e3ea38e2c906400997d79', '\x7c4f01b128c2cf6dbe2c4127b9896c31550eae19f627b518ba01d1eccadcf619'),
	(20, 23, '2026-11-29 17:29:29.86432+00', '\x7c4f01b128c2cf6dbe2c4127b9896c31550eae19f627b518ba01d1eccadcf619', '\x2c0dfb7b29be541d96f0ab84f4fa9842b32a533db12ec62f4219547527677832'),
	(21, 24, '2026-11-29 17:29:29.867019+00', '\x2c0dfb7b29be541d96f0ab84f4fa9842b32a533db12ec62f4219547527677832', '\xeda7c175447161cbe0c3f7541ad022d78258636664f5e23457b17475036c0a2b'),
	(22, 25, '2026-11-29 17:29:29.872701+00', '\xeda7c175447161cbe0c3f7541ad022d78258636664f5e23457b17475036c0a2b', '\xb4659617583929bc2c4bfbba041f2d33122f07e47fa7b9755301fb844a6f6ebc'),
	(23, 26, '2026-11-29 17:29:29.888055+00', '\xb4659617583929bc2c4bfbba041f2d33122f07e47fa7b9755301fb844a6f6ebc', '\xfcaf31076a4250dec0bb949c3479742b442c932ef2a597f6c603cd040cde4ec8'),
	(24, 27, '2026-11-29 17:29:29.890625+00', '\xfcaf31076a4250dec0bb949c3479742b442c932ef2a597f6c603cd040cde4ec8', '\xd4e7a6cbdca06bf0a4ebc587f5d9f16382568b18ec1cb61feb6089994994a75b'),
	(25, 28, '2026-11-29 17:29:29.896009+00', '\xd4e7a6cbdca06bf0a4ebc587f5d9f16382568b18ec1cb61feb6089994994a75b', '\x2a5b5dece35c0d33ac5614f786ff518ec749ec71573dd0afbda76275b524a368'),
	(26, 29, '2026-11-29 17:29:29.907361+00', '\x2a5b5dece35c0d33ac5614f786ff518ec749ec71573dd0afbda76275b524a368', '\x6e35a8ee6c774f27fa5fd4e701a24f0b6932471a61d4285e9fd37867d60aec9b'),
	(27, 30, '2026-11-29 17:29:29.92364+00', '\x6e35a8ee6c774f27fa5fd4e701a24f0b6932471a61d4285e9fd37867d60aec9b', '\x6e543657c495488095bd800b9c972ce209df6d1da9094bc7c4c84d930f5fbe58'),
	(28, 31, '2026-11-29 17:29:29.979394+00', '\x6e543657c495488095bd800b9c972ce209df6d1da9094bc7c4c84d930f5fbe58', '\x57db32df65de70e318479333ca630118eccb59d548af857b2b4f2910fc7cbe1f'),
	(29, 32, '2026-11-29 17:29:30.018454+00', '\x57db32df65de70e318479333ca630118eccb59d548af857b2b4f2910fc7cbe1f', '\x369515cfddb3d702be5089b909098de4b11f96570d9396417c59615ffa97ab21'),
	(30, 33, '2026-11-29 17:29:30.037606+00', '\x369515cfddb3d702be5089b909098de4b11f96570d9396417c59615ffa97ab21', '\xb49781f042330ff698b949dccda2468cd47d9424be41ade50dbe7d13b17355e3'),
	(31, 34, '2026-11-29 17:29:30.074533+00', '\xb49781f042330ff698b949dccda2468cd47d9424be41ade50dbe7d13b17355e3', '\x8460eec6be4f29c33b925ad7e46aee5d4c0b3fe59fa62cbb223ae6b116b52441'),
	(32, 35, '2026-11-29 17:29:30.085544+00', '\x8460eec6be4f29c33b925ad7e46aee5d4c0b3fe59fa62cbb223ae6b116b52441', '\x0f2debe525206b7a636f655f5a120f0777279fcb9ebd1a7bf9e83bcb294a3a57'),
	(33, 36, '2026-11-29 17:29:31.81959+00', '\x0f2debe525206b7a636f655f5a120f0777279fcb9ebd1a7bf9e83bcb294a3a57', '\x1280788997ce5ae5158274ffc93f27f2a619fac88cda3b8d11f7728175bd5695'),
	(34, 37, '2026-11-29 17:29:33.478809+00', '\x1280788997ce5ae5158274ffc93f27f2a619fac88cda3b8d11f7728175bd5695', '\xb8b643caa9498fed02af6de324f8ec8fb9dc83154c7984700a6a7b46f870f52d'),
	(35, 38, '2026-11-29 17:29:33.57564+00', '\xb8b643caa9498fed02af6de324f8ec8fb9dc83154c7984700a6a7b46f870f52d', '\xa1017595c9deeae427a535ad58246dcc9034ebf521de601196938f3bbf8f960e'),
	(36, 39, '2026-11-29 17:29:33.602039+00', '\xa1017595c9deeae427a535ad58246dcc9034ebf521de601196938f3bbf8f960e', '\x95a8d6774ee49d34b59b397239f77e2a5dbcd837fa74d7f5b5662cd88bece68c'),
	(37, 40, '2026-11-29 17:29:33.621761+00', '\x95a8d6774ee49d34b59b397239f77e2a5dbcd837fa74d7f5b5662cd88bece68c', '\xebb1b111e3e74fb8529ee1c95726c8d80b57f4c276f860751cb06d4753b6ae65'),
	(38, 41, '2026-11-29 17:29:33.702003+00', '\xebb1b111e3e74fb8529ee1c95726c8d80b57f4c276f860751cb06d4753b6ae65', '\x6eca8c65489c998df220f3cf385b06254a1d737da0c5f9ff2fd22486984d3463'),
	(39, 42, '2026-11-29 17:29:33.868363+00', '\x6eca8c65489c998df220f3cf385b06254a1d737da0c5f9ff2fd22486984d3463', '\x17302d0b2c578e8e76f9e316d49bc4f60434d849500c24ee0ea5b37910937f2d'),
	(40, 43, '2026-11-29 17:29:33.950162+00', '\x17302d0b2c578e8e76f9e316d49bc4f60434d849500c24ee0ea5b37910937f2d', '\xe0f340f0b6d9bb714a0be4ef89132994e23d389fe470ded9c333f6aa42693f8d'),
	(41, 44, '2026-11-29 17:29:33.998987+00', '\xe0f340f0b6d9bb714a0be4ef89132994e23d389fe470ded9c333f6aa42693f8d', '\x101d0d83a34688ca8fa152984f93c1c17fa7a449a66d51e0ec0430926dbf5c50'),
	(42, 45, '2026-11-29 17:29:34.062224+00', '\x101d0d83a34688ca8fa152984f93c1c17fa7a449a66d51e0ec0430926dbf5c50', '\x6fca9a00860caa1bafb76a8ab682db9086e53a6c4429efc2fbac201496cba252'),
	(43, 46, '2026-11-29 17:29:34.093111+00', '\x6fca9a00860caa1bafb76a8ab682db9086e53a6c4429efc2fbac201496cba252', '\x46703aa1149664fbf6b2cbdfa435366e3a28e64ad7ca5563c209198866014ef6'),
	(44, 47, '2026-11-29 17:29:34.113808+00', '\x46703aa1149664fbf6b2cbdfa435366e3a28e64ad7ca5563c209198866014ef6', '\x70b89906192cb57da192031ad2e17fd3fcef51b8d19126b6cf98113d3313464b'),
	(45, 48, '2026-11-29 17:29:34.158813+00', '\x70b89906192cb57da192031ad2e17fd3fcef51b8d19126b6cf98113d3313464b', '\xe1dbc3cce8ea41e34741e26281a60f02523c669d297a6ca482132d54f2e51648'),
	(46, 49, '2026-11-29 17:29:34.811541+00', '\xe1dbc3cce8ea41e34741e26281a60f02523c669d297a6ca482132d54f2e51648', '\xc74b3ba5b406c61ba3834e857f44d36de02093227301b1b7940a7dd0f5cb0d87');

--
-- Data for Name: entries; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.entries VALUES
	(3181308311123195, 4, 10000, 10000, NULL, NULL, NULL, 'USD'),
	(3506967000021659, 4, -10000, -10000, NULL, NULL, NULL, 'USD'),
	(3114484422017866, 7, 7, 7, NULL, NULL, NULL, 'GEM'),
	(4438104899554407, 7, -7, -7, NULL, NULL, NULL, 'GEM'),
	(2369466647128188, 8, 100, 100, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 8, -100, 9900, NULL, NULL, 0, 'USD'),
	(2369466647128188, 9, -40, 60, NULL, NULL, 0, 'USD'),
	(3181308311123195, 9, 40, 9940, NULL, NULL, NULL, 'USD'),
	(2369466647128188, 10, -60, 0, NULL, NULL, 0, 'USD'),
	(3181308311123195, 10, 60, 10000, NULL, NULL, NULL, 'USD'),
	(2369466647128188, 11, 10, 10, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 11, -30, 9970, NULL, NULL, 0, 'USD'),
	(3506967000021659, 11, 20, -9980, NULL, NULL, NULL, 'USD'),
	(3181308311123195, 12, 0, 9970, 30, 30, 0, 'USD'),
	(3181308311123195, 14, -30, 9940, -30, NULL, NULL, 'USD'),
	(3370543184061383, 14, 30, 30, NULL, NULL, NULL, 'USD'),
	(2369466647128188, 15, 1, 11, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 15, -1, 9939, NULL, NULL, 0, 'USD'),
	(2369466647128188, 16, 1, 12, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 16, -1, 9938, NULL, NULL, 0, 'USD'),
	(2369466647128188, 17, 1, 13, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 17, -1, 9937, NULL, NULL, 0, 'USD'),
	(2369466647128188, 18, 1, 14, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 18, -1, 9936, NULL, NULL, 0, 'USD'),
	(2369466647128188, 19, 1, 15, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 19, -1, 9935, NULL, NULL, 0, 'USD'),
	(3181308311123195, 20, 0, 9935, 500, 500, 0, 'USD'),
	(2369466647128188, 21, 200, 215, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 21, -200, 9735, -200, 300, NULL, 'USD'),
	(2369466647128188, 22, 100, 315, NULL, NULL, 5000, 'USD'),
	(3181308311123195, 22, -100, 9635, -300, NULL, NULL, 'USD'),
	(3181308311123195, 23, 0, 9635, 50, 50, 0, 'USD'),
	(3181308311123195, 24, 0, 9635, -50, NULL, NULL, 'USD'),
	(3181308311123195, 25, 0, 9635, 60, 60, 0, 'USD'),
	(3181308311123195, 26, 0, 9635, 300, 360, 0, 'USD'),
	(3181308311123195, 28, -120, 9515, -120, 240, NULL, 'USD'),
	(3370543184061383, 28, 120, 150, NULL, NULL, NULL, 'USD'),
	(3181308311123195, 29, 0, 9515, 100, 340, 0, 'USD'),
	(3181308311123195, 30, -100, 9415, -100, 240, NULL, 'USD'),
	(3370543184061383, 30, 100, 250, NULL, NULL, NULL, 'USD'),
	(3181308311123195, 31, 30, 9445, NULL, 240, NULL, 'USD'),
	(3370543184061383, 31, -30, 220, NULL, NULL, -9223372036854775807, 'USD'),
	(3181308311123195, 34, 0, 9445, 5, 245, 0, 'USD'),
	(3181308311123195, 35, 0, 9445, -5, 240, NULL, 'USD'),
	(3181308311123195, 36, 0, 9445, -60, 180, NULL, 'USD'),
	(2541918294424196, 40, -10000, -10000, NULL, NULL, NULL, 'USD'),
	(3563739406854317, 40, 10000, 10000, NULL, NULL, NULL, 'USD'),
	(3370543184061383, 42, 100, 320, NULL, NULL, NULL, 'USD'),
	(3563739406854317, 42, -100, 9900, NULL, NULL, 0, 'USD'),
	(2377802692051043, 43, 50, 50, NULL, NULL, 5000, 'USD'),
	(3370543184061383, 43, -50, 270, NULL, NULL, -9223372036854775807, 'USD'),
	(3370543184061383, 44, 30, 300, NULL, NULL, NULL, 'USD'),
	(3563739406854317, 44, -30, 9870, NULL, NULL, 0, 'USD'),
	(3370543184061383, 45, -30, 270, NULL, NULL, -9223372036854775807, 'USD'),
	(3563739406854317, 45, 30, 9900, NULL, NULL, NULL, 'USD'),
	(3563739406854317, 46, 0, 9900, 300, 300, 0, 'USD'),
	(3370543184061383, 48, 120, 390, NULL, NULL, NULL, 'USD'),
	(3563739406854317, 48, -120, 9780, -120, 180, NULL, 'USD');

--
-- Data for Name: holds; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.holds VALUES
	(20, 20, 3181308311123195, 2369466647128188, 500, 0, '2026-12-06 17:29:29.841143+00', 1),
	(20, 21, 3181308311123195, 2369466647128188, 500, 200, '2026-12-06 17:29:29.841143+00', 1),
	(20, 22, 3181308311123195, 2369466647128188, 500, 300, '2026-12-06 17:29:29.841143+00', 2),
	(23, 23, 3181308311123195, 2369466647128188, 50, 0, '2026-12-06 17:29:29.86432+00', 1),
	(23, 24, 3181308311123195, 2369466647128188, 50, 0, '2026-12-06 17:29:29.86432+00', 3),
	(25, 25, 3181308311123195, 2369466647128188, 60, 0, '2026-11-29 17:29:30.872701+00', 1),
	(26, 26, 3181308311123195, 6643592291902728, 300, 0, '2026-12-06 17:29:29.888055+00', 1),
	(26, 27, 3181308311123195, 6643592291902728, 300, 0, '2026-12-06 17:29:29.888055+00', 5),
	(26, 28, 3181308311123195, 6643592291902728, 300, 120, '2026-12-06 17:29:29.888055+00', 1),
	(25, 36, 3181308311123195, 2369466647128188, 60, 0, '2026-11-29 17:29:30.872701+00', 4),
	(46, 46, 3563739406854317, 5346263085426116, 300, 0, '2026-12-06 17:29:34.093111+00', 1),
	(46, 47, 3563739406854317, 5346263085426116, 300, 0, '2026-12-06 17:29:34.093111+00', 5),
	(46, 48, 3563739406854317, 5346263085426116, 300, 120, '2026-12-06 17:29:34.093111+00', 1);

--
-- Data for Name: requests; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.requests VALUES
	('6de9ff78-3e4a-b128-c007-559294a0c1d0', 4, NULL, NULL, NULL, NULL, '\x9703cf000c759162467a9bcf000b4d620fce34fbcd2710a3555344a566756e6473a97b2261223a2262227d'),
	('8458e93c-ad15-145a-0371-f8f60044bf0a', 7, NULL, NULL, NULL, NULL, '\x9503cf000fc46ed2038c67cf000b109b69a2034a07a347454d'),
	('1f18390f-b9e5-6e4d-b3a0-e97539069525', NULL, 8, 80, 'source', 'The available balance would fall below the account''s min_balance.', '\x9503cf000b4d620fce34fbcf00086b0471cf287cce0001869fa3555344'),
	('956b7cd1-de8a-1a5e-3e33-b5759c8cb3f2', NULL, 9, 20, 'destination', 'An account may appear only once. Name different accounts.', '\x9503cf000b4d620fce34fbcf000b4d620fce34fb01a3555344'),
	('342e3971-63e7-2178-31f0-d42e199f3a2e', 8, NULL, NULL, NULL, NULL, '\x9803cf000b4d620fce34fbcf00086b0471cf287c64a3555344c0c0cf0006475c63f7a000'),
	('ff417c14-d3c3-5135-fc68-3a3bb289ada5', 9, NULL, NULL, NULL, NULL, '\x9308cf000800000000000828'),
	('c51b005a-d2ae-82c3-c780-d30671f9baef', 10, NULL, NULL, NULL, NULL, '\x9208cf0008000000000008'),
	('980678fe-7ee7-5c24-2209-39ef2055286e', 11, NULL, NULL, NULL, NULL, '\x9204c410094c786eac23c84b239ad52fc83609f7'),
	('62987acd-78d9-f5d8-45a6-1251eefb197f', 12, NULL, NULL, NULL, NULL, '\x9204c410495dff1dd07adacb32732386c91fa0fe'),
	('f729f792-a1eb-8a4c-cd8b-da4c46ad0ade', 15, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00086b0471cf287c01a3555344'),
	('de6f5ffa-ac53-5b10-5319-383f6121fa64', 16, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00086b0471cf287c01a3555344'),
	('f67f2416-9f98-2f9e-93c5-a3a6ca6eeb1d', 17, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00086b0471cf287c01a3555344'),
	('9482b160-3739-6113-34a2-e81d9ef7ffd6', 18, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00086b0471cf287c01a3555344'),
	('89984634-f6d3-d680-1548-2ef2bebe0986', 19, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00086b0471cf287c01a3555344'),
	('24817fd2-b0a9-3b1b-34e7-906c379e8663', 20, NULL, NULL, NULL, NULL, '\x9605cf000b4d620fce34fbcf00086b0471cf287ccd01f4a3555344ce00093a80'),
	('ccb557ac-46db-b1b9-f729-61e01c520b54', 21, NULL, NULL, NULL, NULL, '\x9406cf0008000000000014ccc8c2'),
	('f19de61f-b8b3-4597-b949-3d0bf9e0b0d5', 22, NULL, NULL, NULL, NULL, '\x9406cf000800000000001464c3'),
	('7065ea18-31b5-f031-fef4-41a24a0d83ed', 23, NULL, NULL, NULL, NULL, '\x9605cf000b4d620fce34fbcf00086b0471cf287c32a3555344ce00093a80'),
	('a20c43d9-45ec-6d4e-7d92-40b83816d8ad', 24, NULL, NULL, NULL, NULL, '\x9207cf0008000000000017'),
	('5fda148e-7d52-0c1c-6404-473720c599ed', 25, NULL, NULL, NULL, NULL, '\x9605cf000b4d620fce34fbcf00086b0471cf287c3ca355534401'),
	('ed36a51d-9e07-b697-87fb-32f543613cfb', 26, NULL, NULL, NULL, NULL, '\x9605cf000b4d620fce34fbcf00179a4fde976508cd012ca3555344ce00093a80'),
	('c8f6710d-a941-a57b-6a7d-e28796610776', 27, NULL, NULL, NULL, NULL, '\x9406cf000800000000001a78c2'),
	('cf67f783-dfd5-a9b4-1bb6-5144be02a2d6', 29, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf00179a4fde97650864a3555344'),
	('b6f7eb9f-6a86-5712-38d3-91b4a77ab7c3', 31, NULL, NULL, NULL, NULL, '\x001000000000000e'),
	('2fee214a-719a-92bf-d745-7e9739262c9d', 34, NULL, NULL, NULL, NULL, '\x9503cf000b4d620fce34fbcf001102d826e7144205a3555344'),
	('781f8fdd-83b5-636e-4b06-81a99b00f8a8', 40, NULL, NULL, NULL, NULL, '\x9703cf000907dc78fcba84cf000ca933bd6ae8adcd2710a3555344a566756e6473a97b2261223a2262227d'),
	('3de2d02e-5c8b-1373-0247-b39c3ec694e7', 42, NULL, NULL, NULL, NULL, '\x9503cf000ca933bd6ae8adcf0012fe65e01525c464a3555344'),
	('82be9dac-2d1f-55aa-3b04-877180b90d5b', 44, NULL, NULL, NULL, NULL, '\x9204c4104f230b5a9d1b87ca8a22fe051b9f6a6d'),
	('278a6bae-61ea-8221-b29b-e29835a36e76', 45, NULL, NULL, NULL, NULL, '\x001000000000001d'),
	('56097897-4042-2bdd-835d-060b9f1e9ef6', 46, NULL, NULL, NULL, NULL, '\x9605cf000ca933bd6ae8adcf0012fe65e01525c4cd012ca3555344ce00093a80'),
	('46d37043-15f1-ac45-01c5-d15538b9532f', 47, NULL, NULL, NULL, NULL, '\x9406cf000800000000002e78c2');

--
-- Data for Name: sagas; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.sagas VALUES
	(12, 12, 1, NULL, NULL, NULL, NULL, '[11,2,[[3181308311123195,30,"USD","entries[0].account"]],[[6643592291902728,10,"USD","entries[1].account"],[6754718368620296,20,"USD","entries[2].account"]],null,false]'),
	(12, 14, 2, 10, NULL, NULL, NULL, NULL),
	(27, 27, 1, NULL, NULL, NULL, NULL, '[21,2,[[3181308311123195,120,"USD","id"]],[[6643592291902728,120,"USD","id"]],26,false]'),
	(27, 28, 2, 12, NULL, NULL, NULL, NULL),
	(29, 29, 1, NULL, NULL, NULL, NULL, '[10,2,[[3181308311123195,100,"USD","source"]],[[6643592291902728,100,"USD","destination"]],null,false]'),
	(29, 30, 2, 13, NULL, NULL, NULL, NULL),
	(34, 34, 1, NULL, NULL, NULL, NULL, '[10,2,[[3181308311123195,5,"USD","source"]],[[4788201992950850,5,"USD","destination"]],null,false]'),
	(34, 35, 3, NULL, 70, 'destination', 'The account is closed. Reopen it first.', NULL),
	(47, 47, 1, NULL, NULL, NULL, NULL, '[21,2,[[3563739406854317,120,"USD","id"]],[[5346263085426116,120,"USD","id"]],46,false]'),
	(47, 48, 2, 31, NULL, NULL, NULL, NULL);

--
-- Data for Name: shard; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.shard VALUES
	(1, '2026-11-29 17:29:27.54141+00');

--
-- Data for Name: tenants; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tenants VALUES
	(1, 'default', '2026-11-29 17:29:27.198968+00');

--
-- Data for Name: transactions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.transactions VALUES
	(1, '2026-11-29 17:29:28.962162+00', 1, 1, NULL, NULL, NULL, NULL),
	(2, '2026-11-29 17:29:29.246406+00', 1, 1, NULL, NULL, NULL, NULL),
	(3, '2026-11-29 17:29:29.2779+00', 1, 1, NULL, NULL, NULL, NULL),
	(4, '2026-11-29 17:29:29.288852+00', 1, 10, NULL, NULL, 'funds', '{"a":"b"}'),
	(5, '2026-11-29 17:29:29.506482+00', 1, 1, NULL, NULL, NULL, NULL),
	(6, '2026-11-29 17:29:29.673078+00', 1, 1, NULL, NULL, NULL, NULL),
	(7, '2026-11-29 17:29:29.67805+00', 1, 10, NULL, NULL, NULL, NULL),
	(8, '2026-11-29 17:29:29.689939+00', 1, 10, '2026-01-02 00:00:00+00', NULL, NULL, NULL),
	(9, '2026-11-29 17:29:29.694033+00', 1, 12, NULL, 8, NULL, NULL),
	(10, '2026-11-29 17:29:29.715629+00', 1, 12, NULL, 8, NULL, NULL),
	(11, '2026-11-29 17:29:29.749526+00', 1, 11, NULL, NULL, NULL, NULL),
	(12, '2026-11-29 17:29:29.773222+00', 1, 30, NULL, NULL, NULL, NULL),
	(13, '2026-11-29 17:29:29.80627+00', 1, 1, NULL, NULL, NULL, NULL),
	(14, '2026-11-29 17:29:29.80627+00', 1, 32, NULL, 12, NULL, NULL),
	(15, '2026-11-29 17:29:29.822449+00', 1, 10, NULL, NULL, NULL, NULL),
	(16, '2026-11-29 17:29:29.822449+00', 1, 10, NULL, NULL, NULL, NULL),
	(17, '2026-11-29 17:29:29.822449+00', 1, 10, NULL, NULL, NULL, NULL),
	(18, '2026-11-29 17:29:29.822449+00', 1, 10, NULL, NULL, NULL, NULL),
	(19, '2026-11-29 17:29:29.822449+00', 1, 10, NULL, NULL, NULL, NULL),
	(20, '2026-11-29 17:29:29.841143+00', 1, 20, NULL, NULL, NULL, NULL),
	(21, '2026-11-29 17:29:29.848195+00', 1, 21, NULL, 20, NULL, NULL),
	(22, '2026-11-29 17:29:29.860378+00', 1, 21, NULL, 20, NULL, NULL),
	(23, '2026-11-29 17:29:29.86432+00', 1, 20, NULL, NULL, NULL, NULL),
	(24, '2026-11-29 17:29:29.867019+00', 1, 22, NULL, 23, NULL, NULL),
	(25, '2026-11-29 17:29:29.872701+00', 1, 20, NULL, NULL, NULL, NULL),
	(26, '2026-11-29 17:29:29.888055+00', 1, 20, NULL, NULL, NULL, NULL),
	(27, '2026-11-29 17:29:29.890625+00', 1, 30, NULL, 26, NULL, NULL),
	(28, '2026-11-29 17:29:29.896009+00', 1, 32, NULL, 27, NULL, NULL),
	(29, '2026-11-29 17:29:29.907361+00', 1, 30, NULL, NULL, NULL, NULL),
	(30, '2026-11-29 17:29:29.92364+00', 1, 32, NULL, 29, NULL, NULL),
	(31, '2026-11-29 17:29:29.979394+00', 1, 31, NULL, 4503599627370510, NULL, NULL),
	(32, '2026-11-29 17:29:30.018454+00', 1, 1, NULL, NULL, NULL, NULL),
	(33, '2026-11-29 17:29:30.037606+00', 1, 1, NULL, NULL, NULL, NULL),
	(34, '2026-11-29 17:29:30.074533+00', 1, 30, NULL, NULL, NULL, NULL),
	(35, '2026-11-29 17:29:30.085544+00', 1, 33, NULL, 34, NULL, NULL),
	(36, '2026-11-29 17:29:31.81959+00', 1, 23, NULL, 25, NULL, NULL),
	(37, '2026-11-29 17:29:33.478809+00', 1, 1, NULL, NULL, NULL, NULL),
	(38, '2026-11-29 17:29:33.57564+00', 1, 1, NULL, NULL, NULL, NULL),
	(39, '2026-11-29 17:29:33.602039+00', 1, 1, NULL, NULL, NULL, NULL),
	(40, '2026-11-29 17:29:33.621761+00', 1, 10, NULL, NULL, 'funds', '{"a":"b"}'),
	(41, '2026-11-29 17:29:33.702003+00', 1, 1, NULL, NULL, NULL, NULL),
	(42, '2026-11-29 17:29:33.868363+00', 1, 40, NULL, 4503599627370522, NULL, NULL),
	(43, '2026-11-29 17:29:33.950162+00', 1, 41, NULL, 4503599627370523, 'back', NULL),
	(44, '2026-11-29 17:29:33.998987+00', 1, 42, NULL, 4503599627370524, NULL, NULL),
	(45, '2026-11-29 17:29:34.062224+00', 1, 31, NULL, 4503599627370525, NULL, NULL),
	(46, '2026-11-29 17:29:34.093111+00', 1, 20, NULL, NULL, NULL, NULL),
	(47, '2026-11-29 17:29:34.113808+00', 1, 30, NULL, 46, NULL, NULL),
	(48, '2026-11-29 17:29:34.158813+00', 1, 32, NULL, 47, NULL, NULL),
	(49, '2026-11-29 17:29:34.811541+00', 1, 1, NULL, NULL, NULL, NULL);

--
-- Data for Name: two_phase_decisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.two_phase_decisions VALUES
	('tallystick/1/2/8146c1a73b620e6c53bd0dc2b95d0b2d', true, '2026-11-29 17:29:33.929972+00'),
	('tallystick/1/2/6f0a7c1c0d944565918571206f5f571b', true, '2026-11-29 17:29:33.974406+00'),
	('tallystick/1/2/94e79829c8983c5bc51a7a2352ca740d', true, '2026-11-29 17:29:34.017858+00');

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

