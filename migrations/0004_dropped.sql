-- Postroom 0004: messages that the relay drops are recorded.
--
-- Run by the owner of the schema, after 0003, and roles.sql afterwards:
--   psql -v ON_ERROR_STOP=1 -f 0004_dropped.sql
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
    CONSTRAINT dropped_reason CHECK (reason IN ('expired', 'unroutable', 'discarded'))
) PARTITION BY LIST (((position >> 40) & 15));
COMMENT ON TABLE outbox.dropped IS 'Messages that the relay gave up; a leaf is truncated together with the leaf of outbox.message';
COMMENT ON COLUMN outbox.dropped.reason IS 'expired; unroutable: the topic is in publish.drop_unroutable; discarded: by an operator';

-- A ring as that of outbox.message: no row is ever deleted one by one, except by a rebase.
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE TABLE outbox.dropped_%1$s PARTITION OF outbox.dropped (
                            CONSTRAINT dropped_%1$s_position PRIMARY KEY (lane, position)) FOR VALUES IN (%2$s)',
                       lpad(slot::text, 2, '0'), slot);
    END LOOP;
END
$$;

-- Releases before do not know the table: they drop messages without a record.
INSERT INTO outbox.migration (version, name, compatible_from) VALUES (4, '0004_dropped', 2);

COMMIT;
