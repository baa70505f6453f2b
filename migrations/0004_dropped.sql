-- Postroom 0004: messages that the relay drops are recorded.
--
-- Run by the owner of the schema, after 0003:  psql -v ON_ERROR_STOP=1 -f 0004_dropped.sql
-- Locks: only objects that this file creates, and outbox.migration for one row.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Which messages the relay gave up, and why: written in the statement of the checkpoint that passes the message, or, of
-- a parked message, in the one that deletes the parked row.
CREATE TABLE outbox.dropped (
    position   bigint      NOT NULL,
    lane       smallint    NOT NULL,
    message_id uuid        NOT NULL,
    topic      text        NOT NULL,
    key        text,
    reason     text        NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    slot       smallint    NOT NULL,
    CONSTRAINT dropped_reason CHECK (reason IN ('expired', 'unroutable', 'discarded')),
    CONSTRAINT dropped_slot   CHECK (slot = ((position >> 40) & 15)),
    PRIMARY KEY (lane, position, slot)
) PARTITION BY LIST (slot);
COMMENT ON TABLE outbox.dropped IS 'Messages that the relay gave up; a leaf is truncated together with the leaf of outbox.message';
COMMENT ON COLUMN outbox.dropped.slot IS 'Leaf: bits 40 to 43 of the position, so a position has one row';
COMMENT ON COLUMN outbox.dropped.reason IS 'expired; unroutable: the topic is in publish.drop_unroutable; discarded: by an operator';

-- A ring as that of outbox.message: no row is deleted one by one, except by a rebase.
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE TABLE outbox.dropped_%s PARTITION OF outbox.dropped FOR VALUES IN (%s)',
                       lpad(slot::text, 2, '0'), slot);
    END LOOP;
END
$$;

-- Whoever could park messages so far records drops too, whatever the name of the role: a relay that could not would stop
-- at the first drop. Roles that are made later get these rights from roles.sql.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee::regrole::text
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'outbox.parked'::regclass AND a.privilege_type = 'INSERT' AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON outbox.dropped TO %s', role);
        FOR slot IN 0..15 LOOP
            EXECUTE format('GRANT TRUNCATE, SELECT ON outbox.dropped_%s TO %s', lpad(slot::text, 2, '0'), role);
        END LOOP;
    END LOOP;
END
$$;

-- Releases before do not know the table: they drop messages without a record.
INSERT INTO outbox.migration (version, name, compatible_from) VALUES (4, '0004_dropped', 2);

COMMIT;
