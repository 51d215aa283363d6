-- The state of this database, of the roles, and of the schema of this session. `login` is the role of servers; by
-- default it is the role of this session.
WITH role AS (
    SELECT
        (SELECT oid FROM pg_roles WHERE rolname = 'tallystick_server') AS server,
        (SELECT oid FROM pg_roles WHERE rolname = coalesce(%(login)s::name, current_user)) AS login
),
namespace AS (
    SELECT oid FROM pg_namespace WHERE nspname = current_schema()
),
ledger AS (
    SELECT log.relnamespace AS namespace, log.relowner AS owner, log.oid AS log, applied.oid AS applied
    FROM pg_class AS log JOIN pg_class AS applied USING (relnamespace)
    WHERE log.relname = 'batches' AND applied.relname = '_yoyo_migration' AND log.relkind = 'r'
)
SELECT
    database.datname AS database,
    pg_get_userbyid(database.datdba) AS database_owner,
    current_setting('server_version_num')::integer AS version,
    pg_encoding_to_char(database.encoding) AS encoding,
    current_setting('transaction_read_only')::boolean AS read_only,
    current_user::text AS role,
    mine.rolsuper AS is_superuser,
    mine.rolsuper OR mine.rolcreaterole AS may_create_roles,
    current_setting('search_path') AS search_path,
    current_schema()::text AS schema,
    coalesce(has_schema_privilege(namespace.oid, 'CREATE'), false) AS may_create_tables,
    ARRAY(
        SELECT relname::text FROM pg_class
        WHERE relnamespace = namespace.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
            AND relname NOT IN ('_yoyo_migration', '_yoyo_log', '_yoyo_version', 'yoyo_lock')
            AND NOT EXISTS (
                SELECT FROM pg_depend
                WHERE pg_depend.classid = 'pg_class'::regclass AND pg_depend.objid = pg_class.oid
                    AND pg_depend.deptype = 'e'
            )
        ORDER BY relname
    ) AS relations,
    ARRAY(
        SELECT nspname::text FROM ledger JOIN pg_namespace ON pg_namespace.oid = ledger.namespace ORDER BY nspname
    ) AS ledger_schemas,
    (SELECT pg_get_userbyid(owner) FROM ledger WHERE ledger.namespace = namespace.oid) AS ledger_owner,
    coalesce(
        (SELECT pg_has_role(owner, 'USAGE') FROM ledger WHERE ledger.namespace = namespace.oid), false
    ) AS has_rights_of_owner,
    role.server IS NOT NULL AS server_role_exists,
    coalesce(%(login)s::text, current_user::text) AS login,
    role.login IS NOT NULL AS login_exists,
    coalesce(pg_has_role(role.login, role.server, 'MEMBER'), false) AS login_is_member,
    coalesce(pg_has_role(role.login, role.server, 'USAGE'), false) AS login_inherits,
    coalesce(
        has_database_privilege(role.login, database.oid, 'CONNECT'),
        has_database_privilege('public', database.oid, 'CONNECT')
    ) AS login_may_connect,
    coalesce((
        SELECT bool_and(has_schema_privilege(role.login, ledger.namespace, 'USAGE')) FROM ledger
    ), true) AS login_may_use_schema,
    coalesce((
        SELECT bool_and(
            has_table_privilege(role.login, ledger.log, 'SELECT')
            AND has_table_privilege(role.login, ledger.applied, 'SELECT')
        ) FROM ledger
    ), true) AS login_may_read,
    ARRAY(
        SELECT other.rolname::text FROM pg_roles AS other
        WHERE role.server IS NOT NULL AND other.rolcanlogin AND NOT other.rolsuper
            AND other.oid <> role.login AND other.oid <> database.datdba
            AND pg_has_role(other.oid, role.server, 'USAGE')
            AND has_database_privilege('public', database.oid, 'CONNECT')
        ORDER BY other.rolname
    ) AS other_logins
FROM pg_database AS database
JOIN pg_roles AS mine ON mine.rolname = current_user
CROSS JOIN role
LEFT JOIN namespace ON true
WHERE database.datname = current_database()
