-- Postroom 0003: headers that no message may carry are refused at the insert, and deliveries of publishers whom a
-- consumer does not trust are kept apart.
--
-- Run by the owner of the schema, after 0002:  psql -v ON_ERROR_STOP=1 -f 0003_forgery.sql
-- Locks: ACCESS EXCLUSIVE on inbox.parked while its rows are looked through once; waits at most 5 s for it, and
-- changes nothing then. Nothing on outbox.message: rows that are there already are not looked at.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '5s';

-- Refuses what the library refuses (outbox/message/src/headers.rs), and values that no relay can read or send: such a
-- message would hold back its key over all topics until an operator discards it. The names that Postroom's own values
-- have in SQL (correlation_id, causation_id, event_version, traceparent) are allowed here.
CREATE FUNCTION outbox.check_headers(headers jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name    text;
    value   jsonb;
    problem text;
BEGIN
    FOR name, value IN SELECT h.key, h.value FROM jsonb_each(headers) AS h LOOP
        problem := CASE
            WHEN octet_length(name) NOT BETWEEN 1 AND 128 THEN
                'must have a name of 1 to 128 bytes'
            WHEN name IN ('CC', 'BCC') THEN
                'would route the message elsewhere (RabbitMQ''s sender-selected distribution); choose another name'
            WHEN starts_with(name, 'cloudEvents') OR starts_with(name, 'postroom-') THEN
                'is set by Postroom itself; choose another name'
            WHEN name ~ '^x-(death|first-death-|last-death-|delivery-count|acquired-count|received-from|shovelled)' THEN
                'is one that RabbitMQ sets or reads itself, and consumers would believe; choose another name'
            -- An AMQP short string. A number or a nested value may have a slightly longer text at the broker.
            WHEN name = 'correlation_id'
                 AND octet_length(value #>> '{}') > CASE jsonb_typeof(value) WHEN 'string' THEN 255 ELSE 250 END THEN
                'must be a text of at most 255 bytes'
            WHEN jsonb_typeof(value) IN ('number', 'array', 'object')
                 AND jsonb_path_exists(value, 'strict $.** ? (@.type() == "number" &&
                         !(@ >= -1.7976931348623158e308 && @ <= 1.7976931348623158e308))') THEN
                'holds a number beyond the range of 64-bit floating point; write it as a text'
            WHEN jsonb_typeof(value) IN ('array', 'object')
                 AND jsonb_path_exists(value, 'strict $.**{126 to last} ? (@.type() == "array" ||
                         @.type() == "object")') THEN
                'is nested more than 126 levels deep'
        END;
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION 'header "%" %', name, problem
                USING ERRCODE = 'check_violation', SCHEMA = 'outbox', DATATYPE = 'headers',
                      CONSTRAINT = 'message_headers';
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION outbox.check_headers(jsonb) IS 'Returns true, or fails and names the header that no message may carry';

-- Whoever writes a row runs the check, also where functions are hidden from the public by default.
GRANT EXECUTE ON FUNCTION outbox.check_headers(jsonb) TO PUBLIC;

-- The server checks constraints of a domain in the order of their names, and this one says what is wrong. Headers of
-- Postroom's own alone, and short, need no look at each: their text holds no number and no nesting beyond the limits.
ALTER DOMAIN outbox.headers ADD CONSTRAINT each_header CHECK (
    CASE WHEN jsonb_typeof(VALUE) = 'object' THEN
        (octet_length(VALUE::text) <= 250
         AND VALUE - ARRAY['correlation_id', 'causation_id', 'event_version', 'traceparent'] = '{}')
        OR outbox.check_headers(VALUE)
    ELSE true END) NOT VALID;

-- Every row satisfies the narrower check that this one replaces.
ALTER TABLE inbox.parked DROP CONSTRAINT parked_reason;
ALTER TABLE inbox.parked ADD CONSTRAINT parked_reason
    CHECK (reason IN ('failed', 'deferred', 'crashed', 'behind', 'rejected', 'undecodable', 'unhandled', 'stale',
                      'future', 'no_id', 'untrusted')) NOT VALID;
-- For their number, which is limited.
CREATE INDEX parked_untrusted ON inbox.parked (consumer) WHERE reason = 'untrusted';

-- From this migration on, a schema says which releases can work with it, so that processes of the release before can be
-- started until the last one is replaced.
ALTER TABLE outbox.migration ADD COLUMN compatible_from integer;
COMMENT ON COLUMN outbox.migration.compatible_from IS
    'Oldest schema version whose releases can work after this migration; null if only releases of this version can';

-- Releases of version 2 compare the result with 2; later ones need it to be their own version at most.
CREATE OR REPLACE FUNCTION outbox.schema_version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT coalesce(max(coalesce(compatible_from, version)), 0) FROM outbox.migration';
COMMENT ON FUNCTION outbox.schema_version() IS 'Oldest version of the schemas outbox and inbox whose releases can work with them; older libraries and relays refuse to';

CREATE FUNCTION outbox.schema_level() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT coalesce(max(version), 0) FROM outbox.migration';
COMMENT ON FUNCTION outbox.schema_level() IS 'Version of the schemas outbox and inbox: the newest migration; libraries and relays refuse one that is older than they need';
GRANT EXECUTE ON FUNCTION outbox.schema_level() TO PUBLIC;

INSERT INTO outbox.migration (version, name, compatible_from) VALUES (3, '0003_forgery', 2);

COMMIT;
