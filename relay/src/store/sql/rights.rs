//! Statements about the rights of this user and of other roles.

use sqlx::PgConnection;

/// One row for each privilege that the relay needs and the session's user lacks.
pub(crate) const MISSING: &str = "
SELECT p.what FROM (VALUES
    ('USAGE on schema outbox', has_schema_privilege('outbox', 'USAGE')),
    ('SELECT on outbox.message', has_table_privilege('outbox.message', 'SELECT')),
    ('SELECT, INSERT, DELETE on outbox.checkpoint',
     has_table_privilege('outbox.checkpoint', 'SELECT') AND
     has_table_privilege('outbox.checkpoint', 'INSERT') AND
     has_table_privilege('outbox.checkpoint', 'DELETE')),
    ('SELECT, INSERT, UPDATE, DELETE on outbox.parked',
     has_table_privilege('outbox.parked', 'SELECT') AND
     has_table_privilege('outbox.parked', 'INSERT') AND
     has_table_privilege('outbox.parked', 'UPDATE') AND
     has_table_privilege('outbox.parked', 'DELETE')),
    ('SELECT, INSERT, DELETE on outbox.segment',
     has_table_privilege('outbox.segment', 'SELECT') AND
     has_table_privilege('outbox.segment', 'INSERT') AND
     has_table_privilege('outbox.segment', 'DELETE')),
    ('SELECT, INSERT, DELETE on outbox.dropped',
     has_table_privilege('outbox.dropped', 'SELECT') AND
     has_table_privilege('outbox.dropped', 'INSERT') AND
     has_table_privilege('outbox.dropped', 'DELETE')),
    ('SELECT, UPDATE on sequence outbox.message_position',
     has_sequence_privilege('outbox.message_position', 'SELECT') AND
     has_sequence_privilege('outbox.message_position', 'UPDATE'))
) AS p (what, granted) WHERE NOT p.granted
UNION ALL
SELECT 'SELECT, TRUNCATE on ' || leaf.name
FROM (SELECT t.name || lpad(slot::text, 2, '0')
      FROM generate_series(0, 15) AS slot, (VALUES ('outbox.message_'), ('outbox.dropped_')) AS t (name))
     AS leaf (name)
WHERE NOT (has_table_privilege(leaf.name, 'SELECT') AND has_table_privilege(leaf.name, 'TRUNCATE'))";

/// One row for each right that lets another role place code where sessions of a service, an operator or the relay run
/// it, and for each piece of code that is already attached to the tables, with its remedy.
///
/// Superusers, the database's owner and the schemas' owner are trusted, because they can do anything anyway. Sessions
/// search the schemas of their `search_path` for functions, operators and types: by default `public` and the schema
/// with the role's name; settings of roles and databases may name others. A role may create objects in the schemas of
/// its own path.
pub(crate) const FOREIGN: &str = r#"
WITH here AS (
    SELECT d.oid, d.datdba FROM pg_database AS d WHERE d.datname = current_database()
), trusted AS (
    SELECT r.oid FROM pg_roles AS r
    WHERE r.rolsuper OR r.rolname = 'pg_database_owner' OR r.oid IN (
              SELECT h.datdba FROM here AS h
              UNION ALL SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname IN ('outbox', 'inbox'))
), path (schema, role) AS (
    SELECT btrim(p.name, ' "'), s.setrole
    FROM pg_db_role_setting AS s
    CROSS JOIN unnest(s.setconfig) AS c (setting)
    CROSS JOIN regexp_split_to_table(regexp_replace(c.setting, '^search_path=', ''), ',') AS p (name)
    WHERE c.setting LIKE 'search_path=%' AND s.setdatabase IN (SELECT 0::oid UNION ALL SELECT h.oid FROM here AS h)
    UNION ALL VALUES ('public', 0::oid), ('outbox', 0::oid), ('inbox', 0::oid)
    UNION ALL SELECT r.rolname, r.oid FROM pg_roles AS r
), creator AS (
    SELECT DISTINCT n.nspname, a.grantee, a.grantee = n.nspowner AS owns
    FROM pg_namespace AS n
    JOIN path AS p ON p.schema = n.nspname
    CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
    WHERE a.privilege_type = 'CREATE' AND (p.role = 0 OR a.grantee <> p.role)
), trigger_maker AS (
    SELECT DISTINCT c.relnamespace::regnamespace::text AS nspname, a.grantee
    FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
    WHERE c.relnamespace::regnamespace::text IN ('outbox', 'inbox') AND a.privilege_type = 'TRIGGER'
), code (kind, oid, owner) AS (
    SELECT 'pg_proc'::regclass, p.oid, p.proowner FROM pg_proc AS p
    UNION ALL SELECT 'pg_operator'::regclass, o.oid, o.oprowner FROM pg_operator AS o
), found (what, cure, role) AS (
    SELECT format('%s may create objects in schema %I', g.name, c.nspname),
           CASE WHEN c.owns THEN format('take schema %I, which is %s''s, off the search_path of others', c.nspname, g.name)
                ELSE format('REVOKE CREATE ON SCHEMA %I FROM %s', c.nspname, g.name) END, c.grantee
    FROM creator AS c CROSS JOIN LATERAL (
        SELECT CASE c.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(c.grantee)) END) AS g (name)
    UNION ALL
    SELECT format('%s may make triggers in schema %I', g.name, t.nspname),
           format('REVOKE TRIGGER ON ALL TABLES IN SCHEMA %I FROM %s', t.nspname, g.name), t.grantee
    FROM trigger_maker AS t CROSS JOIN LATERAL (
        SELECT CASE t.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(t.grantee)) END) AS g (name)
    UNION ALL
    SELECT format('%s %s runs %s %s, which is %I''s', i.type, i.identity, f.type, f.identity, pg_get_userbyid(c.owner)),
           format('drop %s %s, or make it anew', i.type, i.identity), c.owner
    FROM code AS c
    JOIN pg_depend AS d ON d.refclassid = c.kind AND d.refobjid = c.oid
    CROSS JOIN pg_identify_object(d.classid, d.objid, d.objsubid) AS i
    CROSS JOIN pg_identify_object(d.refclassid, d.refobjid, 0) AS f
    WHERE c.owner NOT IN (SELECT t.oid FROM trusted AS t) AND i.identity ~ '(^| )(outbox|inbox)[.]'
)
SELECT f.what, f.cure FROM found AS f
WHERE f.role NOT IN (SELECT t.oid FROM trusted AS t) ORDER BY 1, 2"#;

/// Returns the privileges that this user lacks.
pub(crate) async fn missing(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(MISSING).fetch_all(connection).await
}

/// Returns the ways by which other roles could run code in sessions of this database, each with its remedy.
pub(crate) async fn foreign(connection: &mut PgConnection) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(FOREIGN).fetch_all(connection).await
}
