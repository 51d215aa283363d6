-- The role for people and reports, if it exists, reads the views and the tables that they stand on. It does not read
-- API keys, webhooks, or the key that identifiers are derived from.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallystick_reader') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tallystick_reader', current_schema());
        GRANT SELECT ON
            readable_accounts, readable_transactions, readable_entries, readable_open_holds, readable_open_sagas,
            shard, tenants, batches, transactions, entries, accounts, holds, sagas
        TO tallystick_reader;
        GRANT EXECUTE ON FUNCTION
            readable_identifier(text, bigint), readable_number(text), readable_position(text), readable_kind(integer)
        TO tallystick_reader;
    END IF;
END
$$
