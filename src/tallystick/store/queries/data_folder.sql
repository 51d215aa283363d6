-- The data folder of the server, if this role may know it.
SELECT setting FROM pg_settings WHERE name = 'data_directory'
