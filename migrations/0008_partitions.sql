-- Postroom 0008: the layout of consumers with several queues.
--
-- Run by the owner of the schema, after 0007:  psql -v ON_ERROR_STOP=1 -f 0008_partitions.sql
-- Locks: only objects that this file creates, and outbox.migration for one row.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE TABLE inbox.partitions (
    consumer   text        PRIMARY KEY,
    generation bigint      NOT NULL DEFAULT 1,
    partitions smallint    NOT NULL,
    previous   smallint,
    step       text        NOT NULL DEFAULT 'ready',
    drained    smallint[]  NOT NULL DEFAULT '{}',
    token      uuid,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT partitions_number CHECK (partitions BETWEEN 0 AND 64 AND previous BETWEEN 0 AND 64),
    CONSTRAINT partitions_step   CHECK (step IN ('ready', 'binding', 'draining', 'retiring')),
    CONSTRAINT partitions_change CHECK ((step = 'ready') = (previous IS NULL) AND (step = 'ready') = (token IS NULL))
);
COMMENT ON TABLE inbox.partitions IS
    'Layout of each consumer that has or had partitions: the number of its queues. Consumers without a row have one queue';
COMMENT ON COLUMN inbox.partitions.generation IS 'Counts the changes of the layout';
COMMENT ON COLUMN inbox.partitions.partitions IS 'Partitions of the layout, or of the one that a change leads to; 0: the one queue without partitions';
COMMENT ON COLUMN inbox.partitions.previous IS 'Partitions of the layout that a change leaves; null while there is no change';
COMMENT ON COLUMN inbox.partitions.step IS
    'ready: no change; binding: the new queues are bound, and the old ones unbound; draining: the old queues are read to their ends; retiring: the new queues are read, the old ones deleted';
COMMENT ON COLUMN inbox.partitions.drained IS 'Partitions of the previous layout whose queues are read to their ends';
COMMENT ON COLUMN inbox.partitions.token IS 'Token of the markers at the ends of the old queues';

-- Whoever could park messages so far may change layouts too, whatever the name of the role. Roles that are made later get
-- these rights from roles.sql.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee::regrole::text
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'inbox.parked'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON inbox.partitions TO %s', role);
    END LOOP;
END
$$;

INSERT INTO outbox.migration (version, name, compatible_from) VALUES (8, '0008_partitions', 2);

COMMIT;
