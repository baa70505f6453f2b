-- Postroom 0009: keys by which a consumer handles events of one meaning once, whatever their message ids.
--
-- Run by the owner of the schema, after 0008:  psql -v ON_ERROR_STOP=1 -f 0009_idempotency.sql
-- Locks: only objects that this file creates, and outbox.migration for one row.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Compared byte by byte, so that a new version of the system's collations leaves the index as it is.
CREATE DOMAIN inbox.name AS text COLLATE "C"
    CONSTRAINT name CHECK (octet_length(VALUE) <= 255);

-- A key is recorded in the transaction that handles its event: another transaction with the key waits at the primary
-- key for the end of the first.
CREATE TABLE inbox.idempotency_key (
    consumer    inbox.consumer NOT NULL,
    type        inbox.name     NOT NULL,
    key         inbox.name     NOT NULL,
    message_id  text,
    recorded_at timestamptz    NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz,
    PRIMARY KEY (consumer, type, key)
);
CREATE INDEX idempotency_key_expiry ON inbox.idempotency_key (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE inbox.idempotency_key IS 'Idempotency keys of handled events, by consumer and event type';
COMMENT ON COLUMN inbox.idempotency_key.key IS 'The key; sha256: and its hash if it has more than 255 bytes';
COMMENT ON COLUMN inbox.idempotency_key.message_id IS 'Message that was handled with the key; null if a person recorded the key';
COMMENT ON COLUMN inbox.idempotency_key.expires_at IS 'From when on the key counts as new; null: never';

-- Whoever could record ids so far records keys too, whatever the name of the role. Roles that are made later get these
-- rights from roles.sql.
DO $$
DECLARE
    role text;
BEGIN
    FOR role IN
        SELECT DISTINCT a.grantee::regrole::text
        FROM pg_class AS c CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.oid = 'inbox.processed_other'::regclass AND a.privilege_type = 'INSERT'
          AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON inbox.idempotency_key TO %s', role);
    END LOOP;
END
$$;

-- Releases before do not know the table: they tell messages apart by their ids alone.
INSERT INTO outbox.migration (version, name, compatible_from) VALUES (9, '0009_idempotency', 2);

COMMIT;
