-- Postroom, down: removes both schemas with everything in them, undelivered messages included.
--
--   psql -v ON_ERROR_STOP=1 -f down.sql
-- Refuses, and removes nothing, while something outside of the two schemas depends on them.
-- Locks: ACCESS EXCLUSIVE on every table of schemas outbox and inbox; gives up after 5 s.
-- The roles of roles.sql stay, since other databases of the server may use them.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '5s';

-- Kind by kind and without CASCADE, which would take views and columns of the application with it.
DO $$
DECLARE
    kind   text;
    names  text;
    others text;
BEGIN
    FOR kind, names IN
        WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname IN ('outbox', 'inbox')),
        object (turn, kind, name) AS (
            SELECT 1, 'VIEW', oid::regclass::text FROM pg_class
            WHERE relnamespace IN (SELECT oid FROM ours) AND relkind = 'v'
            UNION ALL
            SELECT 2, 'TABLE', oid::regclass::text FROM pg_class
            WHERE relnamespace IN (SELECT oid FROM ours) AND relkind IN ('r', 'p') AND NOT relispartition
            UNION ALL
            -- Those of identity columns go with their tables.
            SELECT 3, 'SEQUENCE', oid::regclass::text FROM pg_class AS s
            WHERE relnamespace IN (SELECT oid FROM ours) AND relkind = 'S'
              AND NOT EXISTS (SELECT FROM pg_depend AS d
                              WHERE d.classid = 'pg_class'::regclass AND d.objid = s.oid
                                AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
            UNION ALL
            SELECT 4, 'DOMAIN', oid::regtype::text FROM pg_type
            WHERE typnamespace IN (SELECT oid FROM ours) AND typtype = 'd'
            UNION ALL
            -- After the domains, whose checks call them.
            SELECT 5, 'ROUTINE', oid::regprocedure::text FROM pg_proc
            WHERE pronamespace IN (SELECT oid FROM ours)
            UNION ALL
            SELECT 6, 'SCHEMA', oid::regnamespace::text FROM ours
        )
        SELECT o.kind, string_agg(o.name, ', ') FROM object AS o GROUP BY o.turn, o.kind ORDER BY o.turn
    LOOP
        EXECUTE format('DROP %s %s RESTRICT', kind, names);
    END LOOP;
EXCEPTION WHEN dependent_objects_still_exist THEN
    GET STACKED DIAGNOSTICS others = PG_EXCEPTION_DETAIL;
    RAISE EXCEPTION 'other objects depend on the schemas outbox and inbox; nothing was removed'
        USING ERRCODE = 'dependent_objects_still_exist', DETAIL = others,
              HINT = 'Drop these objects, or what in them needs the schemas, and run this file again.';
END
$$;
COMMIT;
