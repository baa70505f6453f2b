-- Postroom 0001: the outbox.
--
-- Run by the owner of the schema:  psql -v ON_ERROR_STOP=1 -f 0001_outbox.sql
-- Locks: only objects that this file creates. Nothing of the application is touched.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Messages leave in UTF-8. In another encoding PostgreSQL would count bytes of its own, and refuse
-- characters that it does not have, within producers' transactions.
DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'Postroom needs a database in UTF8, this one is in %',
                        current_setting('server_encoding')
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Create one with ENCODING ''UTF8'' TEMPLATE template0.';
    END IF;
END
$$;

CREATE SCHEMA outbox;
COMMENT ON SCHEMA outbox IS 'Postroom: messages written with the transaction that they announce';

-- What has been applied. A table of its own: the application's migrations are not involved.
CREATE TABLE outbox.migration (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION outbox.schema_version() RETURNS integer
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'SELECT coalesce(max(version), 0) FROM outbox.migration';
COMMENT ON FUNCTION outbox.schema_version() IS 'Version of the schemas outbox and inbox; libraries and relay refuse one they do not know';

-- CACHE 1: a position must never be handed out from a block that a session reserved earlier.
CREATE SEQUENCE outbox.message_position AS bigint CACHE 1;

-- What the broker cannot carry stays out of the table: AMQP short strings end at 255 bytes, headers
-- must fit one frame, and RabbitMQ routes by CC and BCC. Domains, since their checks are kept ready
-- from one statement to the next: as checks of the table they cost an insert a sixth of its time.
-- Not for the payload: drivers that ask for the types of parameters must see that it is bytea.
-- One lane in this version: nobody would publish the rows of another, and they would be truncated
-- all the same. More will come by ALTER DOMAIN.
CREATE DOMAIN outbox.lane AS smallint
    CONSTRAINT message_lane_is_0 CHECK (VALUE = 0);
CREATE DOMAIN outbox.topic AS text
    CONSTRAINT message_topic CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN outbox.key AS text
    CONSTRAINT message_key CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN outbox.type_name AS text
    CONSTRAINT message_type CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN outbox.content_type AS text
    CONSTRAINT message_content_type CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN outbox.headers AS jsonb
    CONSTRAINT message_headers CHECK (VALUE = '{}' OR (jsonb_typeof(VALUE) = 'object'
                                      AND octet_length(VALUE::text) <= 65536
                                      AND NOT VALUE ?| ARRAY['CC', 'BCC']));

-- Append-only. xid stands before position so that its default is evaluated first: a row's
-- transaction id always exists before its position. The relay's floors rest on that.
CREATE TABLE outbox.message (
    xid           xid8                NOT NULL DEFAULT pg_current_xact_id(),
    position      bigint              NOT NULL DEFAULT nextval('outbox.message_position'),
    lane          outbox.lane         NOT NULL DEFAULT 0,
    message_id    uuid                NOT NULL,
    topic         outbox.topic        NOT NULL,
    key           outbox.key,
    type          outbox.type_name    NOT NULL,
    content_type  outbox.content_type NOT NULL DEFAULT 'application/json',
    headers       outbox.headers      NOT NULL DEFAULT '{}',
    occurred_at   timestamptz         NOT NULL DEFAULT clock_timestamp(),
    deliver_after timestamptz,
    expires_at    timestamptz,
    payload       bytea               NOT NULL,
    CONSTRAINT message_payload CHECK (octet_length(payload) <= 16777216)
) PARTITION BY LIST (((position >> 40) & 15));
COMMENT ON TABLE outbox.message IS 'Messages to publish, append-only; leaves are truncated once delivered and past their retention';
COMMENT ON COLUMN outbox.message.xid IS 'Transaction that wrote the row; set by the default only';
COMMENT ON COLUMN outbox.message.position IS 'Order of writing; bits 40 and up are the segment; set by the default only';
COMMENT ON COLUMN outbox.message.lane IS 'Relay that publishes the row; always 0 in this version';
COMMENT ON COLUMN outbox.message.key IS 'Messages of one key reach every queue in commit order; null: no order';
COMMENT ON COLUMN outbox.message.deliver_after IS 'Not published before; such a message leaves the order of its key';
COMMENT ON COLUMN outbox.message.expires_at IS 'Dropped, and counted, if not published by then';

-- The ring: sixteen leaves for ever. Rotating moves the sequence to the next segment, expiring
-- truncates a leaf; neither is DDL and no partition can be missing.
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('CREATE TABLE outbox.message_%1$s PARTITION OF outbox.message FOR VALUES IN (%2$s)',
                       lpad(slot::text, 2, '0'), slot);
        EXECUTE format('CREATE INDEX message_%1$s_position ON outbox.message_%1$s (position)',
                       lpad(slot::text, 2, '0'));
        EXECUTE format('CREATE INDEX message_%1$s_xid_position ON outbox.message_%1$s (xid, position)',
                       lpad(slot::text, 2, '0'));
    END LOOP;
END
$$;

-- When each segment was begun; one row per rotation.
CREATE TABLE outbox.segment (
    segment    bigint      PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO outbox.segment (segment) VALUES (0);

-- How far the relay has come. Append-only, trimmed from the old end by the relay.
CREATE TABLE outbox.checkpoint (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane              smallint    NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    system_identifier bigint      NOT NULL,
    database_oid      bigint      NOT NULL,
    timeline          integer     NOT NULL,
    delivered         pg_snapshot NOT NULL,
    frame             pg_snapshot,
    frame_upper       bigint,
    watermark         bigint,
    anchor            bigint,
    floor_xids        bigint[]    NOT NULL,
    floor_positions   bigint[]    NOT NULL,
    CONSTRAINT checkpoint_frame  CHECK ((frame IS NULL) = (frame_upper IS NULL)),
    CONSTRAINT checkpoint_walk   CHECK (watermark IS NOT NULL OR (frame IS NULL AND anchor IS NULL)),
    CONSTRAINT checkpoint_floors CHECK (cardinality(floor_xids) = cardinality(floor_positions))
);
CREATE INDEX checkpoint_lane_id ON outbox.checkpoint (lane, id);
COMMENT ON COLUMN outbox.checkpoint.delivered IS 'Every row visible in this snapshot has been delivered or parked';
COMMENT ON COLUMN outbox.checkpoint.frame IS 'Snapshot of the frame being delivered, if one is unfinished';
COMMENT ON COLUMN outbox.checkpoint.watermark IS 'Rows of the frame (or of the walk to the anchor) up to this position are done';
COMMENT ON COLUMN outbox.checkpoint.anchor IS 'After a rebase: rows up to this position are walked by position';
COMMENT ON COLUMN outbox.checkpoint.floor_xids IS 'With floor_positions: what is written after this xid was assigned lies above that position';

-- What could not be published when its turn came: a copy, so that a leaf can be truncated. A primary
-- key, no mere UNIQUE: under a publication for all tables nothing else can be updated or deleted.
CREATE TABLE outbox.parked (
    position      bigint      NOT NULL,
    lane          smallint    NOT NULL,
    reason        text        NOT NULL,
    holds         text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    due_at        timestamptz,
    detail        text,
    parked_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id    uuid        NOT NULL,
    topic         text        NOT NULL,
    key           text,
    type          text        NOT NULL,
    content_type  text        NOT NULL,
    headers       jsonb       NOT NULL,
    occurred_at   timestamptz NOT NULL,
    deliver_after timestamptz,
    expires_at    timestamptz,
    payload       bytea       NOT NULL,
    CONSTRAINT parked_position PRIMARY KEY (position),
    CONSTRAINT parked_reason CHECK (reason IN ('scheduled', 'unroutable', 'nacked', 'rejected', 'behind')),
    CONSTRAINT parked_holds  CHECK (holds IN ('nothing', 'topic', 'key'))
);
CREATE INDEX parked_due ON outbox.parked (lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX parked_key ON outbox.parked (lane, key, position) WHERE holds <> 'nothing';
COMMENT ON COLUMN outbox.parked.holds IS 'What waits behind this row: nothing, its key within its topic, or its whole key';
COMMENT ON COLUMN outbox.parked.due_at IS 'Next attempt; null: waits for the row before it, or for an operator';

-- UUID version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, the rest random.
CREATE FUNCTION outbox.uuid_v7() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(
        set_byte(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
        'hex')::uuid
$$;

-- The lock that orders writers of one key, for writers that do not lock a row of their own.
CREATE FUNCTION outbox.key_lock(key text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS 'SELECT hashtextextended(key, 8102195118)';

-- For services in other languages. Runs as its owner, so EXECUTE is all that a producer needs.
CREATE FUNCTION outbox.publish_bytes(
    topic         text,
    payload       bytea,
    content_type  text,
    key           text        DEFAULT NULL,
    type          text        DEFAULT NULL,
    headers       jsonb       DEFAULT '{}',
    message_id    uuid        DEFAULT NULL,
    deliver_after timestamptz DEFAULT NULL,
    expires_at    timestamptz DEFAULT NULL,
    serialize_key boolean     DEFAULT false
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    id uuid := coalesce(message_id, outbox.uuid_v7());
BEGIN
    -- Those that the relay takes; infinity is beyond.
    IF deliver_after NOT BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00'
       OR expires_at NOT BETWEEN '0001-01-01 00:00:00+00' AND '9999-12-31 23:59:59.999999+00' THEN
        RAISE EXCEPTION 'deliver_after and expires_at must be null or times of the years 1 to 9999'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Leave expires_at null, rather than infinity, for a message that never expires.';
    END IF;
    IF serialize_key AND key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(outbox.key_lock(key));
    END IF;
    INSERT INTO outbox.message AS m (message_id, topic, key, type, content_type, headers,
                                     deliver_after, expires_at, payload)
    VALUES (id, topic, key, coalesce(type, topic), content_type, coalesce(headers, '{}'),
            deliver_after, expires_at, payload);
    RETURN id;
END
$$;

CREATE FUNCTION outbox.publish(
    topic         text,
    payload       jsonb,
    key           text        DEFAULT NULL,
    type          text        DEFAULT NULL,
    headers       jsonb       DEFAULT '{}',
    message_id    uuid        DEFAULT NULL,
    deliver_after timestamptz DEFAULT NULL,
    expires_at    timestamptz DEFAULT NULL,
    serialize_key boolean     DEFAULT false
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT outbox.publish_bytes(topic, convert_to(payload::text, 'UTF8'), 'application/json', key,
                                type, headers, message_id, deliver_after, expires_at, serialize_key)
$$;
COMMENT ON FUNCTION outbox.publish(text, jsonb, text, text, jsonb, uuid, timestamptz, timestamptz, boolean)
    IS 'Publishes a JSON message with the surrounding transaction; returns its id. Example: SELECT outbox.publish(''orders.placed'', ''{"id": 1}'', key => ''customer-7''). A whole row: to_jsonb(o), since row_to_json gives json';

-- Payloads for people. Bytes that are no JSON, or more of it than jsonb holds, are shown in base64.
CREATE FUNCTION outbox.payload_as_json(payload bytea, content_type text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF content_type LIKE '%json%' THEN
        BEGIN
            RETURN convert_from(payload, 'UTF8')::jsonb;
        EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
            NULL;
        END;
    END IF;
    RETURN to_jsonb(encode(payload, 'base64'));
END
$$;

CREATE VIEW outbox.readable AS
SELECT position, message_id, topic, key, type, headers, occurred_at, deliver_after, expires_at,
       outbox.payload_as_json(payload, content_type) AS payload, xid
FROM outbox.message;
COMMENT ON VIEW outbox.readable IS 'outbox.message with payloads as JSON, for people';

-- Functions are executable by everybody unless told otherwise; publishing must be granted.
REVOKE EXECUTE ON FUNCTION outbox.publish_bytes(text, bytea, text, text, text, jsonb, uuid, timestamptz, timestamptz, boolean) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION outbox.publish(text, jsonb, text, text, jsonb, uuid, timestamptz, timestamptz, boolean) FROM PUBLIC;

INSERT INTO outbox.migration (version, name) VALUES (1, '0001_outbox');

COMMIT;
