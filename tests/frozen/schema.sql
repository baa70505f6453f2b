CREATE SCHEMA inbox;


ALTER SCHEMA inbox OWNER TO owner;

COMMENT ON SCHEMA inbox IS 'Postroom: which messages have been handled, and those that could not be';

CREATE SCHEMA outbox;


ALTER SCHEMA outbox OWNER TO owner;

COMMENT ON SCHEMA outbox IS 'Postroom: messages written with the transaction that they announce';

CREATE DOMAIN inbox.consumer AS text
	CONSTRAINT consumer CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 255)));


ALTER DOMAIN inbox.consumer OWNER TO owner;

CREATE DOMAIN inbox.id_hash AS bytea
	CONSTRAINT id_hash CHECK ((octet_length(VALUE) = 32));


ALTER DOMAIN inbox.id_hash OWNER TO owner;

CREATE DOMAIN inbox.name AS text COLLATE pg_catalog."C"
	CONSTRAINT name CHECK ((octet_length(VALUE) <= 255));


ALTER DOMAIN inbox.name OWNER TO owner;

CREATE DOMAIN outbox.content_type AS text
	CONSTRAINT message_content_type CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 255)));


ALTER DOMAIN outbox.content_type OWNER TO owner;

CREATE DOMAIN outbox.headers AS jsonb
	CONSTRAINT message_headers CHECK (((VALUE = '{}'::jsonb) OR ((jsonb_typeof(VALUE) = 'object'::text) AND (octet_length((VALUE)::text) <= 65536) AND (NOT (VALUE ?| ARRAY['CC'::text, 'BCC'::text])))));


ALTER DOMAIN outbox.headers OWNER TO owner;

CREATE DOMAIN outbox.key AS text
	CONSTRAINT message_key CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 255)));


ALTER DOMAIN outbox.key OWNER TO owner;

CREATE DOMAIN outbox.lane AS smallint
	CONSTRAINT message_lane_is_0 CHECK ((VALUE = 0));


ALTER DOMAIN outbox.lane OWNER TO owner;

CREATE DOMAIN outbox.topic AS text
	CONSTRAINT message_topic CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 255)));


ALTER DOMAIN outbox.topic OWNER TO owner;

CREATE DOMAIN outbox.type_name AS text
	CONSTRAINT message_type CHECK (((octet_length(VALUE) >= 1) AND (octet_length(VALUE) <= 255)));


ALTER DOMAIN outbox.type_name OWNER TO owner;

CREATE FUNCTION inbox.discard(id bigint) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    gone inbox.parked;
BEGIN
    DELETE FROM inbox.parked AS p WHERE p.id = discard.id RETURNING * INTO gone;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF gone.holds_key AND gone.key IS NOT NULL THEN
        PERFORM inbox.release_next(gone.consumer, gone.key);
    END IF;
    RETURN true;
END
$$;


ALTER FUNCTION inbox.discard(id bigint) OWNER TO owner;

COMMENT ON FUNCTION inbox.discard(id bigint) IS 'Deletes a parked delivery and releases the message behind it; false if there is none with this id';

CREATE FUNCTION inbox.release_next(consumer text, key text) RETURNS void
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    UPDATE inbox.parked AS p
    SET due_at = greatest(p.parked_at, clock_timestamp() - interval '1 minute')
    WHERE p.id = (SELECT n.id FROM inbox.parked AS n
                  WHERE n.consumer = release_next.consumer AND n.key = release_next.key AND n.holds_key
                  ORDER BY n.id LIMIT 1)
      AND p.reason = 'behind' AND p.due_at IS NULL
$$;


ALTER FUNCTION inbox.release_next(consumer text, key text) OWNER TO owner;

CREATE FUNCTION inbox.retry(id bigint) RETURNS boolean
    LANGUAGE sql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    WITH revived AS (
        UPDATE inbox.parked AS p
        SET state = 'waiting', attempts = 0,
            -- For how long it was put off counts from here.
            parked_at = CASE WHEN p.reason = 'deferred' THEN clock_timestamp() ELSE p.parked_at END,
            due_at = CASE WHEN first.is THEN clock_timestamp() END,
            reason = CASE WHEN first.is THEN p.reason ELSE 'behind' END
        FROM (SELECT q.id, NOT (q.holds_key AND EXISTS (
                         SELECT FROM inbox.parked AS e
                         WHERE e.consumer = q.consumer AND e.key = q.key AND e.holds_key
                           AND e.id < q.id)) AS is
              FROM inbox.parked AS q WHERE q.id = retry.id) AS first
        WHERE p.id = first.id RETURNING 1)
    SELECT EXISTS (SELECT FROM revived)
$$;


ALTER FUNCTION inbox.retry(id bigint) OWNER TO owner;

COMMENT ON FUNCTION inbox.retry(id bigint) IS 'Tries a parked delivery again, at once unless it is behind others of its key; false if there is none with this id';

CREATE FUNCTION outbox.check_headers(headers jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
$_$;


ALTER FUNCTION outbox.check_headers(headers jsonb) OWNER TO owner;

COMMENT ON FUNCTION outbox.check_headers(headers jsonb) IS 'Returns true, or fails and names the header that no message may carry';

CREATE FUNCTION outbox.key_lock(key text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$SELECT hashtextextended(key, 8102195118)$$;


ALTER FUNCTION outbox.key_lock(key text) OWNER TO owner;

CREATE FUNCTION outbox.payload_as_json(payload bytea, content_type text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
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


ALTER FUNCTION outbox.payload_as_json(payload bytea, content_type text) OWNER TO owner;

CREATE FUNCTION outbox.publish(topic text, payload jsonb, key text DEFAULT NULL::text, type text DEFAULT NULL::text, headers jsonb DEFAULT '{}'::jsonb, message_id uuid DEFAULT NULL::uuid, deliver_after timestamp with time zone DEFAULT NULL::timestamp with time zone, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, serialize_key boolean DEFAULT false) RETURNS uuid
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT outbox.publish_bytes(topic, convert_to(payload::text, 'UTF8'), 'application/json', key,
                                type, headers, message_id, deliver_after, expires_at, serialize_key)
$$;


ALTER FUNCTION outbox.publish(topic text, payload jsonb, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) OWNER TO owner;

COMMENT ON FUNCTION outbox.publish(topic text, payload jsonb, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) IS 'Publishes a JSON message with the surrounding transaction; returns its id. Example: SELECT outbox.publish(''orders.placed'', ''{"id": 1}'', key => ''customer-7''). A whole row: to_jsonb(o), since row_to_json gives json';

CREATE FUNCTION outbox.publish_bytes(topic text, payload bytea, content_type text, key text DEFAULT NULL::text, type text DEFAULT NULL::text, headers jsonb DEFAULT '{}'::jsonb, message_id uuid DEFAULT NULL::uuid, deliver_after timestamp with time zone DEFAULT NULL::timestamp with time zone, expires_at timestamp with time zone DEFAULT NULL::timestamp with time zone, serialize_key boolean DEFAULT false) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
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


ALTER FUNCTION outbox.publish_bytes(topic text, payload bytea, content_type text, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) OWNER TO owner;

CREATE FUNCTION outbox.schema_level() RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$SELECT coalesce(max(version), 0) FROM outbox.migration$$;


ALTER FUNCTION outbox.schema_level() OWNER TO owner;

COMMENT ON FUNCTION outbox.schema_level() IS 'Version of the schemas outbox and inbox: the newest migration; libraries and relays refuse one that is older than they need';

CREATE FUNCTION outbox.schema_version() RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$SELECT coalesce(max(coalesce(compatible_from, version)), 0) FROM outbox.migration$$;


ALTER FUNCTION outbox.schema_version() OWNER TO owner;

COMMENT ON FUNCTION outbox.schema_version() IS 'Oldest version of the schemas outbox and inbox whose releases can work with them; older libraries and relays refuse to';

CREATE FUNCTION outbox.uuid_v7() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT encode(
        set_byte(
            overlay(uuid_send(gen_random_uuid())
                    PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                    FROM 1 FOR 6),
            6, (get_byte(uuid_send(gen_random_uuid()), 6) & 15) | 112),
        'hex')::uuid
$$;


ALTER FUNCTION outbox.uuid_v7() OWNER TO owner;

CREATE TABLE inbox.idempotency_key (
    consumer inbox.consumer NOT NULL,
    type inbox.name NOT NULL,
    key inbox.name NOT NULL,
    message_id text,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone
);


ALTER TABLE inbox.idempotency_key OWNER TO owner;

COMMENT ON TABLE inbox.idempotency_key IS 'Idempotency keys of handled events, by consumer and event type';

COMMENT ON COLUMN inbox.idempotency_key.key IS 'The key; sha256: and its hash if it has more than 255 bytes';

COMMENT ON COLUMN inbox.idempotency_key.message_id IS 'Message that was handled with the key; null if a person recorded the key';

COMMENT ON COLUMN inbox.idempotency_key.expires_at IS 'From when on the key counts as new; null: never';

CREATE TABLE inbox.parked (
    id bigint NOT NULL,
    consumer inbox.consumer NOT NULL,
    state text NOT NULL,
    reason text NOT NULL,
    holds_key boolean NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone,
    error text,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    message_id text,
    source text,
    topic text NOT NULL,
    key text,
    type text,
    content_type text,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    version bigint,
    CONSTRAINT parked_state CHECK ((state = ANY (ARRAY['waiting'::text, 'dead'::text])))
);


ALTER TABLE inbox.parked OWNER TO owner;

COMMENT ON TABLE inbox.parked IS 'Deliveries that wait for another attempt, for the message before them, or for an operator';

COMMENT ON COLUMN inbox.parked.state IS 'waiting: will be tried again; dead: only an operator can revive or discard it';

COMMENT ON COLUMN inbox.parked.holds_key IS 'Later messages of the key wait behind this row';

COMMENT ON COLUMN inbox.parked.due_at IS 'Next attempt; null: waits for the row before it, or for an operator';

COMMENT ON COLUMN inbox.parked.version IS 'Version of the body; null if the message has none, or was parked by a release before this column';

ALTER TABLE inbox.parked ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME inbox.parked_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE inbox.partitions (
    consumer text NOT NULL,
    generation bigint DEFAULT 1 NOT NULL,
    partitions smallint NOT NULL,
    previous smallint,
    step text DEFAULT 'ready'::text NOT NULL,
    drained smallint[] DEFAULT '{}'::smallint[] NOT NULL,
    token uuid,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT partitions_change CHECK ((((step = 'ready'::text) = (previous IS NULL)) AND ((step = 'ready'::text) = (token IS NULL)))),
    CONSTRAINT partitions_number CHECK ((((partitions >= 0) AND (partitions <= 64)) AND ((previous >= 0) AND (previous <= 64)))),
    CONSTRAINT partitions_step CHECK ((step = ANY (ARRAY['ready'::text, 'binding'::text, 'draining'::text, 'retiring'::text])))
);


ALTER TABLE inbox.partitions OWNER TO owner;

COMMENT ON TABLE inbox.partitions IS 'Layout of each consumer that has or had partitions: the number of its queues. Consumers without a row have one queue';

COMMENT ON COLUMN inbox.partitions.generation IS 'Counts the changes of the layout';

COMMENT ON COLUMN inbox.partitions.partitions IS 'Partitions of the layout, or of the one that a change leads to; 0: the one queue without partitions';

COMMENT ON COLUMN inbox.partitions.previous IS 'Partitions of the layout that a change leaves; null while there is no change';

COMMENT ON COLUMN inbox.partitions.step IS 'ready: no change; binding: the new queues are bound, and the old ones unbound; draining: the old queues are read to their ends; retiring: the new queues are read, the old ones deleted';

COMMENT ON COLUMN inbox.partitions.drained IS 'Partitions of the previous layout whose queues are read to their ends';

COMMENT ON COLUMN inbox.partitions.token IS 'Token of the markers at the ends of the old queues';

CREATE TABLE inbox.processed (
    consumer inbox.consumer NOT NULL,
    message_id uuid NOT NULL,
    slot smallint NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
)
PARTITION BY LIST (slot);


ALTER TABLE inbox.processed OWNER TO owner;

COMMENT ON TABLE inbox.processed IS 'Ids of handled messages, by consumer';

-- 64 times
CREATE TABLE inbox.processed_NN (
    consumer inbox.consumer NOT NULL,
    message_id uuid NOT NULL,
    slot smallint NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE inbox.processed_NN OWNER TO owner;

CREATE TABLE inbox.processed_other (
    consumer inbox.consumer NOT NULL,
    id_hash inbox.id_hash NOT NULL,
    processed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE inbox.processed_other OWNER TO owner;

COMMENT ON TABLE inbox.processed_other IS 'Hashed ids of handled messages that carry no UUID version 7';

CREATE TABLE inbox.reply (
    consumer inbox.consumer NOT NULL,
    request_id uuid NOT NULL,
    type text NOT NULL,
    version bigint,
    content_type text,
    payload bytea NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE inbox.reply OWNER TO owner;

COMMENT ON TABLE inbox.reply IS 'First replies to requests, kept for a while for those who wait for them';

CREATE TABLE outbox.checkpoint (
    id bigint NOT NULL,
    lane smallint NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid bigint NOT NULL,
    timeline integer NOT NULL,
    delivered pg_snapshot NOT NULL,
    frame pg_snapshot,
    frame_upper bigint,
    watermark bigint,
    anchor bigint,
    floor_xids bigint[] NOT NULL,
    floor_positions bigint[] NOT NULL,
    CONSTRAINT checkpoint_floors CHECK ((cardinality(floor_xids) = cardinality(floor_positions))),
    CONSTRAINT checkpoint_frame CHECK (((frame IS NULL) = (frame_upper IS NULL))),
    CONSTRAINT checkpoint_walk CHECK (((watermark IS NOT NULL) OR ((frame IS NULL) AND (anchor IS NULL))))
);


ALTER TABLE outbox.checkpoint OWNER TO owner;

COMMENT ON COLUMN outbox.checkpoint.delivered IS 'Every row visible in this snapshot has been delivered or parked';

COMMENT ON COLUMN outbox.checkpoint.frame IS 'Snapshot of the frame being delivered, if one is unfinished';

COMMENT ON COLUMN outbox.checkpoint.watermark IS 'Rows of the frame (or of the walk to the anchor) up to this position are done';

COMMENT ON COLUMN outbox.checkpoint.anchor IS 'After a rebase: rows up to this position are walked by position';

COMMENT ON COLUMN outbox.checkpoint.floor_xids IS 'With floor_positions: what is written after this xid was assigned lies above that position';

ALTER TABLE outbox.checkpoint ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.checkpoint_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE outbox.dropped (
    "position" bigint NOT NULL,
    lane smallint NOT NULL,
    message_id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    reason text NOT NULL,
    dropped_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    slot smallint NOT NULL,
    CONSTRAINT dropped_reason CHECK ((reason = ANY (ARRAY['expired'::text, 'unroutable'::text, 'discarded'::text]))),
    CONSTRAINT dropped_slot CHECK ((slot = (("position" >> 40) & (15)::bigint)))
)
PARTITION BY LIST (slot);


ALTER TABLE outbox.dropped OWNER TO owner;

COMMENT ON TABLE outbox.dropped IS 'Messages that the relay gave up; a leaf is truncated together with the leaf of outbox.message';

COMMENT ON COLUMN outbox.dropped.reason IS 'expired; unroutable: the topic is in publish.drop_unroutable; discarded: by an operator';

COMMENT ON COLUMN outbox.dropped.slot IS 'Leaf: bits 40 to 43 of the position, so a position has one row';

-- 16 times
CREATE TABLE outbox.dropped_NN (
    "position" bigint NOT NULL,
    lane smallint NOT NULL,
    message_id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    reason text NOT NULL,
    dropped_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    slot smallint NOT NULL,
    CONSTRAINT dropped_reason CHECK ((reason = ANY (ARRAY['expired'::text, 'unroutable'::text, 'discarded'::text]))),
    CONSTRAINT dropped_slot CHECK ((slot = (("position" >> 40) & (15)::bigint)))
);


ALTER TABLE outbox.dropped_NN OWNER TO owner;

CREATE SEQUENCE outbox.message_position
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER TABLE outbox.message_position OWNER TO owner;

CREATE TABLE outbox.message (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    "position" bigint DEFAULT nextval('outbox.message_position'::regclass) NOT NULL,
    lane outbox.lane DEFAULT 0 NOT NULL,
    message_id uuid NOT NULL,
    topic outbox.topic NOT NULL,
    key outbox.key,
    type outbox.type_name NOT NULL,
    content_type outbox.content_type DEFAULT 'application/json'::text NOT NULL,
    headers outbox.headers DEFAULT '{}'::jsonb NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    deliver_after timestamp with time zone,
    expires_at timestamp with time zone,
    payload bytea NOT NULL,
    CONSTRAINT message_payload CHECK ((octet_length(payload) <= 16777216))
)
PARTITION BY LIST (((("position" >> 40) & (15)::bigint)));


ALTER TABLE outbox.message OWNER TO owner;

COMMENT ON TABLE outbox.message IS 'Messages to publish, append-only; leaves are truncated once delivered and past their retention';

COMMENT ON COLUMN outbox.message.xid IS 'Transaction that wrote the row; set by the default only';

COMMENT ON COLUMN outbox.message."position" IS 'Order of writing; bits 40 and up are the segment; set by the default only';

COMMENT ON COLUMN outbox.message.lane IS 'Relay that publishes the row; always 0 in this version';

COMMENT ON COLUMN outbox.message.key IS 'Messages of one key reach every queue in commit order; null: no order';

COMMENT ON COLUMN outbox.message.deliver_after IS 'Not published before; such a message leaves the order of its key';

COMMENT ON COLUMN outbox.message.expires_at IS 'Dropped, and counted, if not published by then';

-- 16 times
CREATE TABLE outbox.message_NN (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    "position" bigint DEFAULT nextval('outbox.message_position'::regclass) NOT NULL,
    lane outbox.lane DEFAULT 0 NOT NULL,
    message_id uuid NOT NULL,
    topic outbox.topic NOT NULL,
    key outbox.key,
    type outbox.type_name NOT NULL,
    content_type outbox.content_type DEFAULT 'application/json'::text NOT NULL,
    headers outbox.headers DEFAULT '{}'::jsonb NOT NULL,
    occurred_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    deliver_after timestamp with time zone,
    expires_at timestamp with time zone,
    payload bytea NOT NULL,
    CONSTRAINT message_payload CHECK ((octet_length(payload) <= 16777216))
);


ALTER TABLE outbox.message_NN OWNER TO owner;

CREATE TABLE outbox.migration (
    version integer NOT NULL,
    name text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    compatible_from integer
);


ALTER TABLE outbox.migration OWNER TO owner;

COMMENT ON COLUMN outbox.migration.compatible_from IS 'Oldest schema version whose releases can work after this migration; null if only releases of this version can';

CREATE TABLE outbox.parked (
    "position" bigint NOT NULL,
    lane smallint NOT NULL,
    reason text NOT NULL,
    holds text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    due_at timestamp with time zone,
    detail text,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    message_id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    type text NOT NULL,
    content_type text NOT NULL,
    headers jsonb NOT NULL,
    occurred_at timestamp with time zone NOT NULL,
    deliver_after timestamp with time zone,
    expires_at timestamp with time zone,
    payload bytea NOT NULL,
    CONSTRAINT parked_holds CHECK ((holds = ANY (ARRAY['nothing'::text, 'topic'::text, 'key'::text]))),
    CONSTRAINT parked_reason CHECK ((reason = ANY (ARRAY['scheduled'::text, 'unroutable'::text, 'nacked'::text, 'rejected'::text, 'behind'::text])))
);


ALTER TABLE outbox.parked OWNER TO owner;

COMMENT ON COLUMN outbox.parked.holds IS 'What waits behind this row: nothing, its key within its topic, or its whole key';

COMMENT ON COLUMN outbox.parked.due_at IS 'Next attempt; null: waits for the row before it, or for an operator';

CREATE VIEW outbox.readable AS
 SELECT message."position",
    message.message_id,
    message.topic,
    message.key,
    message.type,
    message.headers,
    message.occurred_at,
    message.deliver_after,
    message.expires_at,
    outbox.payload_as_json(message.payload, (message.content_type)::text) AS payload,
    message.xid
   FROM outbox.message;


ALTER TABLE outbox.readable OWNER TO owner;

COMMENT ON VIEW outbox.readable IS 'outbox.message with payloads as JSON, for people';

CREATE TABLE outbox.segment (
    segment bigint NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);


ALTER TABLE outbox.segment OWNER TO owner;

-- 64 times
ALTER TABLE ONLY inbox.processed ATTACH PARTITION inbox.processed_NN FOR VALUES IN ('N');

-- 16 times
ALTER TABLE ONLY outbox.dropped ATTACH PARTITION outbox.dropped_NN FOR VALUES IN ('N');

-- 16 times
ALTER TABLE ONLY outbox.message ATTACH PARTITION outbox.message_NN FOR VALUES IN ('N');

ALTER TABLE ONLY inbox.idempotency_key
    ADD CONSTRAINT idempotency_key_pkey PRIMARY KEY (consumer, type, key);

ALTER TABLE ONLY inbox.parked
    ADD CONSTRAINT parked_pkey PRIMARY KEY (id);

ALTER TABLE inbox.parked
    ADD CONSTRAINT parked_reason CHECK ((reason = ANY (ARRAY['failed'::text, 'deferred'::text, 'crashed'::text, 'behind'::text, 'rejected'::text, 'undecodable'::text, 'unhandled'::text, 'stale'::text, 'future'::text, 'no_id'::text, 'untrusted'::text, 'newer_version'::text]))) NOT VALID;

ALTER TABLE ONLY inbox.partitions
    ADD CONSTRAINT partitions_pkey PRIMARY KEY (consumer);

ALTER TABLE ONLY inbox.processed
    ADD CONSTRAINT processed_pkey PRIMARY KEY (consumer, message_id, slot);

-- 64 times
ALTER TABLE ONLY inbox.processed_NN
    ADD CONSTRAINT processed_NN_pkey PRIMARY KEY (consumer, message_id, slot);

ALTER TABLE ONLY inbox.processed_other
    ADD CONSTRAINT processed_other_pkey PRIMARY KEY (consumer, id_hash);

ALTER TABLE ONLY inbox.reply
    ADD CONSTRAINT reply_pkey PRIMARY KEY (consumer, request_id);

ALTER TABLE ONLY outbox.checkpoint
    ADD CONSTRAINT checkpoint_pkey PRIMARY KEY (id);

ALTER TABLE ONLY outbox.dropped
    ADD CONSTRAINT dropped_pkey PRIMARY KEY (lane, "position", slot);

-- 16 times
ALTER TABLE ONLY outbox.dropped_NN
    ADD CONSTRAINT dropped_NN_pkey PRIMARY KEY (lane, "position", slot);

ALTER DOMAIN outbox.headers
    ADD CONSTRAINT each_header CHECK (
CASE
    WHEN (jsonb_typeof(VALUE) = 'object'::text) THEN (((octet_length((VALUE)::text) <= 250) AND ((VALUE - ARRAY['correlation_id'::text, 'causation_id'::text, 'event_version'::text, 'traceparent'::text]) = '{}'::jsonb)) OR outbox.check_headers(VALUE))
    ELSE true
END) NOT VALID;

ALTER TABLE ONLY outbox.migration
    ADD CONSTRAINT migration_pkey PRIMARY KEY (version);

ALTER TABLE ONLY outbox.parked
    ADD CONSTRAINT parked_position PRIMARY KEY ("position");

ALTER TABLE ONLY outbox.segment
    ADD CONSTRAINT segment_pkey PRIMARY KEY (segment);

CREATE INDEX idempotency_key_expiry ON inbox.idempotency_key USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE INDEX parked_due ON inbox.parked USING btree (consumer, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX parked_key ON inbox.parked USING btree (consumer, key, id) WHERE holds_key;

CREATE INDEX parked_message ON inbox.parked USING btree (consumer, message_id);

CREATE INDEX parked_newer ON inbox.parked USING btree (consumer, COALESCE(type, topic), version) WHERE (reason = 'newer_version'::text);

CREATE INDEX parked_untrusted ON inbox.parked USING btree (consumer) WHERE (reason = 'untrusted'::text);

CREATE INDEX processed_other_age ON inbox.processed_other USING btree (processed_at);

CREATE INDEX reply_age ON inbox.reply USING btree (consumer, received_at);

CREATE INDEX checkpoint_lane_id ON outbox.checkpoint USING btree (lane, id);

-- 16 times
CREATE INDEX message_NN_position ON outbox.message_NN USING btree ("position");

-- 16 times
CREATE INDEX message_NN_xid_position ON outbox.message_NN USING btree (xid, "position");

CREATE INDEX parked_due ON outbox.parked USING btree (lane, due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX parked_key ON outbox.parked USING btree (lane, key, "position") WHERE (holds <> 'nothing'::text);

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_00_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_01_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_02_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_03_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_04_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_05_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_06_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_07_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_08_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_09_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_10_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_11_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_12_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_13_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_14_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_15_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_16_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_17_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_18_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_19_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_20_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_21_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_22_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_23_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_24_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_25_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_26_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_27_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_28_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_29_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_30_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_31_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_32_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_33_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_34_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_35_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_36_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_37_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_38_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_39_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_40_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_41_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_42_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_43_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_44_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_45_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_46_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_47_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_48_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_49_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_50_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_51_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_52_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_53_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_54_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_55_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_56_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_57_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_58_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_59_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_60_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_61_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_62_pkey;

ALTER INDEX inbox.processed_pkey ATTACH PARTITION inbox.processed_63_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_00_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_01_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_02_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_03_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_04_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_05_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_06_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_07_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_08_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_09_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_10_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_11_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_12_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_13_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_14_pkey;

ALTER INDEX outbox.dropped_pkey ATTACH PARTITION outbox.dropped_15_pkey;

GRANT USAGE ON SCHEMA inbox TO inbox_consumer;

GRANT USAGE ON SCHEMA outbox TO outbox_producer;
GRANT USAGE ON SCHEMA outbox TO outbox_relay;
GRANT USAGE ON SCHEMA outbox TO inbox_consumer;

GRANT ALL ON FUNCTION inbox.discard(id bigint) TO inbox_consumer;

GRANT ALL ON FUNCTION inbox.release_next(consumer text, key text) TO inbox_consumer;

GRANT ALL ON FUNCTION inbox.retry(id bigint) TO inbox_consumer;

GRANT ALL ON FUNCTION outbox.key_lock(key text) TO outbox_producer;

GRANT ALL ON FUNCTION outbox.payload_as_json(payload bytea, content_type text) TO outbox_relay;

REVOKE ALL ON FUNCTION outbox.publish(topic text, payload jsonb, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION outbox.publish(topic text, payload jsonb, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) TO outbox_producer;

REVOKE ALL ON FUNCTION outbox.publish_bytes(topic text, payload bytea, content_type text, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION outbox.publish_bytes(topic text, payload bytea, content_type text, key text, type text, headers jsonb, message_id uuid, deliver_after timestamp with time zone, expires_at timestamp with time zone, serialize_key boolean) TO outbox_producer;

GRANT ALL ON FUNCTION outbox.schema_version() TO outbox_producer;
GRANT ALL ON FUNCTION outbox.schema_version() TO outbox_relay;
GRANT ALL ON FUNCTION outbox.schema_version() TO inbox_consumer;

GRANT ALL ON FUNCTION outbox.uuid_v7() TO outbox_producer;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inbox.idempotency_key TO inbox_consumer;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE inbox.parked TO inbox_consumer;

GRANT SELECT,INSERT,UPDATE ON TABLE inbox.partitions TO inbox_consumer;

GRANT SELECT,INSERT,DELETE ON TABLE inbox.processed TO inbox_consumer;

-- 64 times
GRANT SELECT,TRUNCATE ON TABLE inbox.processed_NN TO inbox_consumer;

GRANT SELECT,INSERT,DELETE ON TABLE inbox.processed_other TO inbox_consumer;

GRANT SELECT,INSERT,DELETE ON TABLE inbox.reply TO inbox_consumer;

GRANT SELECT,INSERT,DELETE ON TABLE outbox.checkpoint TO outbox_relay;

GRANT SELECT,INSERT,DELETE ON TABLE outbox.dropped TO outbox_relay;

-- 16 times
GRANT SELECT,TRUNCATE ON TABLE outbox.dropped_NN TO outbox_relay;

GRANT USAGE ON SEQUENCE outbox.message_position TO outbox_producer;
GRANT SELECT,UPDATE ON SEQUENCE outbox.message_position TO outbox_relay;

GRANT SELECT ON TABLE outbox.message TO outbox_relay;

GRANT INSERT(message_id) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(topic) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(key) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(type) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(content_type) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(headers) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(occurred_at) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(deliver_after) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(expires_at) ON TABLE outbox.message TO outbox_producer;

GRANT INSERT(payload) ON TABLE outbox.message TO outbox_producer;

-- 16 times
GRANT SELECT,TRUNCATE ON TABLE outbox.message_NN TO outbox_relay;

GRANT SELECT ON TABLE outbox.migration TO outbox_relay;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE outbox.parked TO outbox_relay;

GRANT SELECT ON TABLE outbox.readable TO outbox_relay;

GRANT SELECT,INSERT,DELETE ON TABLE outbox.segment TO outbox_relay;
