-- Postroom 0007: replies to requests, kept for those who wait for them.
--
-- Run by the owner of the schema, after 0006:  psql -v ON_ERROR_STOP=1 -f 0007_replies.sql
-- Locks: none on tables that exist.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '5s';

CREATE TABLE inbox.reply (
    consumer     inbox.consumer NOT NULL,
    request_id   uuid           NOT NULL,
    type         text           NOT NULL,
    version      bigint,
    content_type text,
    payload      bytea          NOT NULL,
    received_at  timestamptz    NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, request_id)
);
CREATE INDEX reply_age ON inbox.reply (consumer, received_at);
COMMENT ON TABLE inbox.reply IS 'First replies to requests, kept for a while for those who wait for them';

-- Whoever could park messages so far keeps replies too, whatever the name of the role. Roles that are made later get
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
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON inbox.reply TO %s', role);
    END LOOP;
END
$$;

INSERT INTO outbox.migration (version, name, compatible_from) VALUES (7, '0007_replies', 2);

COMMIT;
