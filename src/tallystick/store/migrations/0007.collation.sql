-- Indexed texts are compared byte by byte, whatever the database's collation is. An index in the order of a language is
-- wrong when the operating system changes that order, as it does with a new version of its library: then an owner, or
-- a key, that is there is not found. Tables are not rewritten, only their indexes.

ALTER TABLE accounts ALTER COLUMN owner TYPE text COLLATE "C";
ALTER TABLE tenants ALTER COLUMN name TYPE text COLLATE "C";
ALTER TABLE api_keys ALTER COLUMN id TYPE text COLLATE "C";
ALTER TABLE assets ALTER COLUMN code TYPE text COLLATE "C";
ALTER TABLE webhook_endpoints ALTER COLUMN id TYPE text COLLATE "C";
ALTER TABLE webhook_deliveries ALTER COLUMN endpoint TYPE text COLLATE "C";
ALTER TABLE two_phase_decisions ALTER COLUMN batch TYPE text COLLATE "C";
