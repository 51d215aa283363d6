-- Lets the server's role find the tables. (In the schema public every role can, unless that right was revoked.)
DO $$
BEGIN
    IF NOT has_schema_privilege('tallystick_server', current_schema(), 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tallystick_server', current_schema());
    END IF;
END
$$
