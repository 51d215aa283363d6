-- What an API key may do. Keys from before may do what they could: everything. New ones may read, unless more is asked for.
-- The highest version, and then the latest change, is in force: the shards need not be told in the same order. A
-- revocation is for ever, whatever the version.
ALTER TABLE api_keys
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{read,post,admin,webhooks,metrics}',
    ADD COLUMN networks text[] NOT NULL DEFAULT '{}',
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN previous_hash bytea,
    ADD COLUMN previous_until timestamptz,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now(),
    ADD CONSTRAINT api_keys_scopes_check CHECK (cardinality(scopes) > 0),
    ADD CONSTRAINT api_keys_version_check CHECK (version > 0),
    ADD CONSTRAINT api_keys_previous_check CHECK (
        (previous_hash IS NULL) = (previous_until IS NULL) AND length(previous_hash) = 32
    );
ALTER TABLE api_keys ALTER COLUMN scopes SET DEFAULT '{read}';
CREATE INDEX api_keys_previous_hash ON api_keys (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX api_keys_tenant ON api_keys (tenant, created_at, id);

-- When a key was last used: a server writes it now and then. It is beside the keys, which servers may not write.
CREATE TABLE api_key_uses (
    id      text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES api_keys,
    used_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON api_key_uses TO tallystick_server;

-- The key that a secret belongs to, if it is in force and may manage keys.
CREATE FUNCTION key_of_admin(caller text) RETURNS api_keys LANGUAGE plpgsql STABLE AS $$
DECLARE
    hashed bytea := sha256(convert_to(caller, 'UTF8'));
    admin api_keys;
BEGIN
    SELECT * INTO admin FROM api_keys
    WHERE (hash = hashed OR (previous_hash = hashed AND previous_until > now()))
        AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AND 'admin' = ANY (scopes);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the secret of an API key in force with the scope admin is needed'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN admin;
END
$$;

-- A tenant that manages its keys over HTTP cannot lock itself out.
CREATE FUNCTION key_expect_admin(managed integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM api_keys
        WHERE tenant = managed AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
            AND 'admin' = ANY (scopes)
    ) THEN
        RAISE EXCEPTION 'the tenant would have no key left that may manage keys' USING ERRCODE = '23T01';
    END IF;
END
$$;

-- Whether callers in some networks are all in others. No networks: callers anywhere.
CREATE FUNCTION key_networks_within(inside text[], outside text[]) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN outside = '{}' OR (
        inside <> '{}' AND NOT EXISTS (
            SELECT FROM unnest(inside) AS one
            WHERE NOT EXISTS (SELECT FROM unnest(outside) AS its WHERE one::cidr <<= its::cidr)
        )
    );
END
$$;

-- Make or change a key. The owner of the tables may, without a caller. Servers may only with the secret of an admin's key,
-- which they have while its owner uses it, and grant no more than this key has: so a server that was taken over, or one
-- of its sessions, can put no key in force by itself. With `decides` only the first of two equal versions is recorded.
CREATE FUNCTION key_put(
    caller text, put_id text, put_tenant integer, put_name text, put_hash bytea, put_scopes text[], put_networks text[],
    put_expires_at timestamptz, put_previous_hash bytea, put_previous_until timestamptz, put_version bigint,
    put_created_at timestamptz, put_changed_at timestamptz, decides boolean
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    admin api_keys;
    before api_keys;
    grants boolean;
BEGIN
    IF caller IS NULL THEN
        IF NOT pg_has_role(session_user, current_user, 'USAGE') THEN
            RAISE EXCEPTION 'permission denied for table api_keys' USING ERRCODE = 'insufficient_privilege';
        END IF;
    ELSE
        admin := key_of_admin(caller);
        -- One change of a tenant's keys at a time, so that two cannot take away the last two that may manage keys.
        PERFORM pg_advisory_xact_lock((x'7a18'::bigint << 32) | put_tenant);
        -- It may have been revoked or changed while this waited.
        PERFORM FROM api_keys WHERE id = admin.id FOR SHARE;
        admin := key_of_admin(caller);
    END IF;
    SELECT * INTO before FROM api_keys WHERE id = put_id;
    -- A key that gets a secret, scopes, networks or time is granted anew, so all of it counts.
    grants := caller IS NOT NULL AND (
        before.id IS NULL
        OR put_hash <> before.hash
        OR NOT put_scopes <@ before.scopes
        OR (before.expires_at IS NOT NULL AND (put_expires_at IS NULL OR put_expires_at > before.expires_at))
        OR NOT key_networks_within(put_networks, before.networks)
        OR (
            put_previous_hash IS NOT NULL AND put_previous_hash <> before.hash
            AND (put_previous_hash IS DISTINCT FROM before.previous_hash OR put_previous_until > before.previous_until)
        )
    );
    IF caller IS NOT NULL AND (
        put_tenant <> admin.tenant
        OR before.tenant <> admin.tenant
        OR (
            grants AND (
                NOT put_scopes <@ admin.scopes
                OR (admin.expires_at IS NOT NULL AND (put_expires_at IS NULL OR put_expires_at > admin.expires_at))
                OR NOT key_networks_within(put_networks, admin.networks)
            )
        )
    ) THEN
        RAISE EXCEPTION 'an API key cannot grant more than it has' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO api_keys AS present (
        id, tenant, name, hash, scopes, networks, expires_at, previous_hash, previous_until, version, created_at,
        changed_at
    ) VALUES (
        put_id, put_tenant, put_name, put_hash, put_scopes, put_networks, put_expires_at, put_previous_hash,
        put_previous_until, put_version, put_created_at, put_changed_at
    )
    ON CONFLICT (id) DO UPDATE SET
        name = excluded.name, hash = excluded.hash, scopes = excluded.scopes, networks = excluded.networks,
        expires_at = excluded.expires_at, previous_hash = excluded.previous_hash,
        previous_until = excluded.previous_until, version = excluded.version, changed_at = excluded.changed_at
    WHERE (present.version, present.changed_at) < (excluded.version, excluded.changed_at)
        AND (present.version < excluded.version OR NOT decides);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF caller IS NOT NULL AND 'admin' = ANY (before.scopes) THEN
        PERFORM key_expect_admin(put_tenant);
    END IF;
    RETURN true;
END
$$;

-- Revoke a key. False if there is none in force. As above, but the last key that may manage keys stays.
CREATE FUNCTION key_revoke(caller text, revoked_id text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    admin api_keys;
    revoked_scopes text[];
BEGIN
    IF caller IS NULL THEN
        IF NOT pg_has_role(session_user, current_user, 'USAGE') THEN
            RAISE EXCEPTION 'permission denied for table api_keys' USING ERRCODE = 'insufficient_privilege';
        END IF;
    ELSE
        admin := key_of_admin(caller);
        PERFORM pg_advisory_xact_lock((x'7a18'::bigint << 32) | admin.tenant);
        -- It may have been revoked or changed while this waited.
        PERFORM FROM api_keys WHERE id = admin.id FOR SHARE;
        admin := key_of_admin(caller);
    END IF;
    UPDATE api_keys SET revoked_at = now()
    WHERE id = revoked_id AND revoked_at IS NULL AND (caller IS NULL OR tenant = admin.tenant)
    RETURNING scopes INTO revoked_scopes;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF caller IS NOT NULL AND 'admin' = ANY (revoked_scopes) THEN
        PERFORM key_expect_admin(admin.tenant);
    END IF;
    RETURN true;
END
$$;

-- As in 0001: they read the tables of this schema and no others.
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'key\_%' LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', one, current_schema());
    END LOOP;
END
$$;
