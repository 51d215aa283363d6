-- What is in force in this session, of the settings named, in PostgreSQL's own units.
SELECT lower(name), setting FROM pg_settings WHERE lower(name) = ANY ($1::text[])
