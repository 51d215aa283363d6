-- The values of the given settings in this session, in PostgreSQL's own units.
SELECT lower(name), setting FROM pg_settings WHERE lower(name) = ANY ($1::text[])
