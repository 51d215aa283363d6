#!/bin/sh
# What an administrator runs once, as docs/existing-postgres.md says. The image of PostgreSQL runs it at its first start.
set -eu

quoted() {
    # The content of a file as an SQL string.
    printf "'%s'" "$(sed "s/'/''/g" "$1")"
}

psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE tallystick_server NOLOGIN;
CREATE ROLE tallystick_reader NOLOGIN;
CREATE ROLE tallystick_owner LOGIN PASSWORD $(quoted "${SECRETS:-/run/secrets}/owner_password");
CREATE ROLE tallystick_login LOGIN PASSWORD $(quoted "${SECRETS:-/run/secrets}/password");
GRANT tallystick_server TO tallystick_login;
CREATE DATABASE shard_1 OWNER tallystick_owner TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE ALL ON DATABASE shard_1 FROM PUBLIC;
GRANT CONNECT ON DATABASE shard_1 TO tallystick_login;
SQL
