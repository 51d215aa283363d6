-- The server's role finds the tables. (In the schema public everybody does, unless that was taken away.)
DO $$
BEGIN
    IF NOT has_schema_privilege('tallystick_server', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tallystick_server', current_schema());
    END IF;
END
$$
