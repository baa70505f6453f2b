-- Everything that a role without privileges can put before the names of pg_catalog, in schema public. Run as that
-- role, who owns schema mallory with the table mallory.used: names that Postroom's statements use.
--
-- Each object tells when it is run. Functions and operators fail then as well.

SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL check_function_bodies = off;

GRANT USAGE ON SCHEMA mallory TO PUBLIC;
-- What a sequence tells outlasts a rollback.
CREATE SEQUENCE mallory.hits;
CREATE SEQUENCE mallory.last;
CREATE TABLE mallory.made (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    what text NOT NULL,
    -- Why it could not be made.
    why  text
);

CREATE FUNCTION mallory.hit(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM nextval('mallory.hits'), setval('mallory.last', id);
    RETURN true;
END
$$;

-- Runs SQL in which {id} stands for the object's number and {fail} for a body that tells, and fails.
CREATE FUNCTION mallory.make(kind text, what text, sql text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = off
AS $$
DECLARE
    made bigint;
BEGIN
    INSERT INTO mallory.made (kind, what) VALUES (make.kind, make.what) RETURNING id INTO made;
    EXECUTE replace(replace(sql, '{fail}', format(
        '%L', 'BEGIN PERFORM mallory.hit({id}); RAISE EXCEPTION $f$foreign ' || kind || ' ' || what || '$f$; END')),
        '{id}', made::text);
EXCEPTION WHEN OTHERS THEN
    INSERT INTO mallory.made (kind, what, why) VALUES (make.kind, make.what, sqlerrm);
END
$$;

-- The base types that are used, and the domains that are there.
CREATE TABLE mallory.type AS
SELECT t.oid, t.typname::text AS name, format_type(t.oid, NULL) AS type, t.typtype FROM pg_type AS t
WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN (
          'int2', 'int4', 'int8', 'float8', 'numeric', 'text', 'varchar', 'name', 'char', 'uuid', 'bytea', 'bool',
          'timestamptz', 'timestamp', 'interval', 'jsonb', 'xid', 'xid8', 'oid', 'regclass', 'pg_snapshot',
          'pg_lsn', 'bit', '_text', '_int8', '_int2', '_int4', '_uuid', '_xid8')
   OR t.typtype = 'd' AND t.typnamespace::regnamespace::text IN ('outbox', 'inbox');

-- Functions: the same arguments as those of pg_catalog, ...
SELECT mallory.make('function', format('%s(%s)', p.proname, a.arguments), format(
           'CREATE FUNCTION public.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS {fail}',
           p.proname, a.arguments, CASE WHEN p.proretset THEN 'SETOF ' END, p.prorettype::regtype))
FROM pg_proc AS p CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(CASE WHEN p.provariadic <> 0 AND x.n = p.pronargs THEN 'VARIADIC ' ELSE '' END
                               || format_type(x.type, NULL), ', ' ORDER BY x.n), '') AS arguments,
           coalesce(bool_or(x.type IN ('internal'::regtype, 'cstring'::regtype, '"any"'::regtype)), false)
               AS impossible
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS x (type, n)) AS a
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'w') AND NOT a.impossible
  AND p.prorettype NOT IN ('internal'::regtype, 'cstring'::regtype);

-- ... and others that may fit better.
SELECT mallory.make('overload', format('%s(%s)', u.word, a.arguments), format(
           'CREATE FUNCTION public.%I(%s) RETURNS boolean LANGUAGE plpgsql AS {fail}', u.word, a.arguments))
FROM (SELECT DISTINCT p.proname AS word, p.pronargs AS n FROM pg_proc AS p JOIN mallory.used AS w ON w.word = p.proname
      WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.pronargs BETWEEN 1 AND 4) AS u
CROSS JOIN mallory.type AS t
CROSS JOIN LATERAL (SELECT array_to_string(array_fill(t.type, ARRAY[u.n::integer]), ', ')) AS a (arguments)
WHERE to_regprocedure(format('public.%I(%s)', u.word, a.arguments)) IS NULL;

-- Aggregates.
SELECT mallory.make('aggregate', format('%s(%s)', p.proname, a.arguments), format(
           'CREATE FUNCTION mallory.step_{id}(%s) RETURNS %s LANGUAGE plpgsql AS {fail};
            CREATE AGGREGATE public.%I(%s) (SFUNC = mallory.step_{id}, STYPE = %s)',
           concat_ws(', ', p.prorettype::regtype, nullif(a.arguments, '*')), p.prorettype::regtype,
           p.proname, a.arguments, p.prorettype::regtype))
FROM pg_proc AS p CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(format_type(x.type, NULL), ', ' ORDER BY x.n), '*') AS arguments,
           coalesce(bool_or(x.type IN ('internal'::regtype, '"any"'::regtype)), false) AS impossible
    FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS x (type, n)) AS a
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'a' AND p.proname IN (SELECT word FROM mallory.used)
  AND NOT a.impossible;
SELECT mallory.make('aggregate', format('%s(%s)', u.word, t.type), format(
           'CREATE FUNCTION mallory.step_{id}(%2$s, %1$s) RETURNS %2$s LANGUAGE plpgsql AS {fail};
            CREATE AGGREGATE public.%3$I(%1$s) (SFUNC = mallory.step_{id}, STYPE = %2$s)',
           t.type, CASE u.word WHEN 'count' THEN 'bigint' ELSE t.type END, u.word))
FROM (VALUES ('count'), ('min'), ('max'), ('sum')) AS u (word) CROSS JOIN mallory.type AS t
WHERE to_regprocedure(format('public.%I(%s)', u.word, t.type)) IS NULL;

-- Operators: the same as those of pg_catalog, ...
SELECT mallory.make('operator', format('%s %s %s', o.left_type, o.oprname, o.right_type), format(
           'CREATE FUNCTION mallory.operator_{id}(%1$s) RETURNS %2$s LANGUAGE plpgsql AS {fail};
            CREATE OPERATOR public.%3$s (%4$s, FUNCTION = mallory.operator_{id})',
           concat_ws(', ', o.left_type, o.right_type), o.result, o.oprname,
           concat_ws(', ', 'LEFTARG = ' || o.left_type, 'RIGHTARG = ' || o.right_type)))
FROM (SELECT p.oprname, format_type(nullif(p.oprleft, 0), NULL) AS left_type,
             format_type(nullif(p.oprright, 0), NULL) AS right_type, p.oprresult::regtype AS result
      FROM pg_operator AS p WHERE p.oprnamespace = 'pg_catalog'::regnamespace) AS o;

-- ... and one for each pair of types.
SELECT mallory.make('pair', format('%s ? %s', l.type, r.type), format(
           'CREATE FUNCTION mallory.pair_{id}(%1$s, %2$s) RETURNS boolean LANGUAGE plpgsql AS {fail}; %3$s',
           l.type, r.type, (
               SELECT string_agg(format(
                   'CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = mallory.pair_{id});',
                   o.name, l.type, r.type), ' ')
               FROM unnest('{=,<>,<,<=,>,>=,+,-,*,/,%,^,&,|,#,<<,>>,||,~,~~,!~~,?|,->,->>}'::text[]) AS o (name)
               WHERE NOT EXISTS (SELECT FROM pg_operator AS p
                                 WHERE p.oprnamespace = 'public'::regnamespace AND p.oprname = o.name
                                   AND p.oprleft = l.oid AND p.oprright = r.oid))))
FROM mallory.type AS l CROSS JOIN mallory.type AS r;

-- Relations of the same names.
SELECT mallory.make('relation', c.relname, format(
           'CREATE VIEW public.%I AS SELECT * FROM pg_catalog.%I WHERE mallory.hit({id})', c.relname, c.relname))
FROM pg_class AS c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v');
SELECT mallory.make('relation', c.relname, format(
           'CREATE VIEW public.%I AS SELECT WHERE mallory.hit({id})', c.relname))
FROM pg_class AS c WHERE c.relnamespace::regnamespace::text IN ('outbox', 'inbox') AND c.relkind IN ('r', 'p', 'v', 'S');

-- Types of the same names, that mean the same and tell.
SELECT mallory.make('type', t.name, format(
           'CREATE DOMAIN public.%I AS %s CHECK (mallory.hit({id}))', t.name, t.type))
FROM mallory.type AS t WHERE t.typtype = 'b' AND t.name !~ '^_';
