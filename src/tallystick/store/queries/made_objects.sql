-- The objects of this schema, one row for each, described in the same words for every version and every schema: kind,
-- table, name, definition.
WITH tables AS (
    SELECT oid, relkind, relname AS name, relowner, relacl, relrowsecurity, relpersistence
    FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v') AND relname NOT LIKE '%yoyo\_%'
),
granted AS (
    SELECT tables.name, tables.relowner, entry.grantee, entry.privilege_type
    FROM tables CROSS JOIN LATERAL aclexplode(tables.relacl) AS entry
    UNION
    SELECT tables.name, tables.relowner, entry.grantee,
        entry.privilege_type || ' (' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')'
    FROM tables
    JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    CROSS JOIN LATERAL aclexplode(attacl) AS entry
    GROUP BY tables.name, tables.relowner, entry.grantee, entry.privilege_type
)
SELECT 'column', tables.name::text, attname::text,
    concat_ws(' ',
        format_type(atttypid, atttypmod),
        CASE WHEN attcollation <> 0 AND attcollation <> typcollation THEN 'COLLATE ' || quote_ident(collname) END,
        CASE WHEN attnotnull THEN 'NOT NULL' END,
        'DEFAULT ' || pg_get_expr(adbin, adrelid)
    )
FROM tables
JOIN pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
JOIN pg_type ON pg_type.oid = atttypid
LEFT JOIN pg_collation ON pg_collation.oid = attcollation
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
-- Since PostgreSQL 18 NOT NULL is a constraint, too. The rows of columns have it already.
SELECT 'constraint', tables.name::text, conname::text, pg_get_constraintdef(pg_constraint.oid)
FROM tables JOIN pg_constraint ON conrelid = tables.oid
WHERE contype IN ('p', 'u', 'c', 'f', 'x')
UNION ALL
SELECT 'index', tables.name::text, relname::text,
    replace(pg_get_indexdef(indexrelid), ' ' || quote_ident(current_schema()) || '.', ' ')
        || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
FROM tables
JOIN pg_index ON indrelid = tables.oid
JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
UNION ALL
SELECT 'trigger', tables.name::text, tgname::text,
    replace(pg_get_triggerdef(pg_trigger.oid), ' ' || quote_ident(current_schema()) || '.', ' ')
        || CASE tgenabled WHEN 'A' THEN '' WHEN 'D' THEN ' DISABLED' ELSE ' NOT ALWAYS' END
FROM tables JOIN pg_trigger ON tgrelid = tables.oid
WHERE NOT tgisinternal
UNION ALL
SELECT 'function', '', proname::text,
    '(' || pg_get_function_arguments(pg_proc.oid) || ') ' || concat_ws(' ',
        'RETURNS', format_type(prorettype, NULL), 'LANGUAGE', lanname,
        CASE provolatile WHEN 's' THEN 'STABLE' WHEN 'i' THEN 'IMMUTABLE' END,
        CASE WHEN prosecdef THEN 'SECURITY DEFINER' END,
        'SET ' || replace(
            replace(array_to_string(proconfig, ' SET '), quote_ident(current_schema()), '{schema}'), '=', ' = '
        ),
        'AS', quote_literal(prosrc)
    )
FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
-- (The schema may have functions of other applications, too, with any arguments.)
WHERE pronamespace = current_schema()::regnamespace AND (pronargs = 0 OR proname LIKE 'readable\_%' OR proname LIKE 'key\_%')
UNION ALL
SELECT 'grant', name::text, CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee)::text END,
    string_agg(privilege_type, ', ' ORDER BY privilege_type)
FROM granted
WHERE grantee <> relowner
GROUP BY name, grantee
UNION ALL
-- PostgreSQL 15 names the table before each column, and later versions do not.
SELECT 'view', name::text, '', regexp_replace(regexp_replace(pg_get_viewdef(oid), '\m\w+\.', '', 'g'), '\s+', ' ', 'g')
FROM tables
WHERE relkind = 'v'
UNION ALL
SELECT 'rule', tables.name::text, rulename::text, pg_get_ruledef(pg_rewrite.oid)
FROM tables JOIN pg_rewrite ON ev_class = tables.oid
WHERE relkind <> 'v'
UNION ALL
SELECT 'row security', name::text, '', 'ENABLED' FROM tables WHERE relrowsecurity
UNION ALL
SELECT 'child', tables.name::text, inhrelid::regclass::text, 'INHERITS' FROM tables JOIN pg_inherits ON inhparent = tables.oid
UNION ALL
SELECT 'persistence', name::text, '', 'NOT PERMANENT' FROM tables WHERE relpersistence <> 'p'
ORDER BY 1, 2, 3
