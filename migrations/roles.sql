-- Postroom, optional: roles with just the privileges that each part needs.
--
-- Run by the owner of the schemas, after the numbered files. Needs CREATEROLE unless the roles exist (or
-- apply the GRANTs by hand to roles of your own):
--   psql -v ON_ERROR_STOP=1 -f roles.sql
-- Can be applied again. Locks: ACCESS SHARE and row locks in the catalogues only.
-- The roles cannot log in: grant them to the logins of your services, for example
--   GRANT outbox_producer, inbox_consumer TO billing;  GRANT outbox_relay TO relay;
-- Functions are granted too: where default privileges are hardened, the public may call none.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['outbox_producer', 'outbox_relay', 'inbox_consumer'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = role);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        -- Made meanwhile, from another database of the server.
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$$;

-- Producers insert the user columns of the parent, or call outbox.publish. Never xid, position, lane or
-- a leaf.
GRANT USAGE ON SCHEMA outbox TO outbox_producer;
GRANT INSERT (message_id, topic, key, type, content_type, headers, occurred_at, deliver_after,
              expires_at, payload) ON outbox.message TO outbox_producer;
GRANT USAGE ON SEQUENCE outbox.message_position TO outbox_producer;
GRANT EXECUTE ON FUNCTION
    outbox.schema_version(), outbox.uuid_v7(), outbox.key_lock(text),
    outbox.publish(text, jsonb, text, text, jsonb, uuid, timestamptz, timestamptz, boolean),
    outbox.publish_bytes(text, bytea, text, text, text, jsonb, uuid, timestamptz, timestamptz, boolean)
    TO outbox_producer;

-- The relay reads messages, keeps its own tables, moves the sequence and truncates leaves.
GRANT USAGE ON SCHEMA outbox TO outbox_relay;
GRANT SELECT ON outbox.message, outbox.readable, outbox.migration TO outbox_relay;
GRANT EXECUTE ON FUNCTION outbox.schema_version(), outbox.payload_as_json(bytea, text) TO outbox_relay;
GRANT SELECT, UPDATE ON SEQUENCE outbox.message_position TO outbox_relay;
GRANT SELECT, INSERT, DELETE ON outbox.checkpoint TO outbox_relay;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox.parked TO outbox_relay;
GRANT SELECT, INSERT, DELETE ON outbox.segment, outbox.dropped TO outbox_relay;
DO $$
BEGIN
    FOR slot IN 0..15 LOOP
        EXECUTE format('GRANT TRUNCATE, SELECT ON outbox.message_%1$s, outbox.dropped_%1$s TO outbox_relay',
                       lpad(slot::text, 2, '0'));
    END LOOP;
END
$$;

-- Consumers record, park and expire; they publish too where they are also granted outbox_producer.
GRANT USAGE ON SCHEMA inbox, outbox TO inbox_consumer;
GRANT EXECUTE ON FUNCTION outbox.schema_version() TO inbox_consumer;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA inbox TO inbox_consumer;
GRANT SELECT, INSERT, DELETE ON inbox.processed, inbox.processed_other TO inbox_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON inbox.parked, inbox.idempotency_key TO inbox_consumer;
GRANT SELECT, INSERT, DELETE ON inbox.reply TO inbox_consumer;
GRANT SELECT, INSERT, UPDATE ON inbox.partitions TO inbox_consumer;
DO $$
BEGIN
    FOR slot IN 0..63 LOOP
        EXECUTE format('GRANT TRUNCATE, SELECT ON inbox.processed_%s TO inbox_consumer', lpad(slot::text, 2, '0'));
    END LOOP;
END
$$;

COMMIT;
