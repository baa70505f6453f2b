-- Postroom 0002: the inbox.
--
-- Run by the owner of the schema, after 0001:  psql -v ON_ERROR_STOP=1 -f 0002_inbox.sql
-- Locks: only objects that this file creates, and outbox.migration for one row.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA inbox;
COMMENT ON SCHEMA inbox IS 'Postroom: which messages have been handled, and those that could not be';

-- Domains, since their checks are kept ready from one statement to the next.
CREATE DOMAIN inbox.consumer AS text
    CONSTRAINT consumer CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN inbox.id_hash AS bytea
    CONSTRAINT id_hash CHECK (octet_length(VALUE) = 32);

-- Messages whose id is a UUID version 7. slot is the day in the id, modulo 64, so a duplicate
-- always meets its own leaf's primary key. Leaves past the dedup window are truncated.
CREATE TABLE inbox.processed (
    consumer     inbox.consumer NOT NULL,
    message_id   uuid           NOT NULL,
    slot         smallint       NOT NULL,
    processed_at timestamptz    NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, message_id, slot)
) PARTITION BY LIST (slot);

DO $$
BEGIN
    FOR slot IN 0..63 LOOP
        EXECUTE format('CREATE TABLE inbox.processed_%s PARTITION OF inbox.processed FOR VALUES IN (%s)',
                       lpad(slot::text, 2, '0'), slot);
    END LOOP;
END
$$;
COMMENT ON TABLE inbox.processed IS 'Ids of handled messages, by consumer';

-- Messages with any other id, hashed together with their source; deleted in batches.
CREATE TABLE inbox.processed_other (
    consumer     inbox.consumer NOT NULL,
    id_hash      inbox.id_hash  NOT NULL,
    processed_at timestamptz    NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (consumer, id_hash)
);
CREATE INDEX processed_other_age ON inbox.processed_other (processed_at);
COMMENT ON TABLE inbox.processed_other IS 'Hashed ids of handled messages that carry no UUID version 7';

-- What could not be handled. Parking records the id too, so a redelivery is a duplicate.
CREATE TABLE inbox.parked (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer     inbox.consumer NOT NULL,
    state        text        NOT NULL,
    reason       text        NOT NULL,
    holds_key    boolean     NOT NULL,
    attempts     integer     NOT NULL DEFAULT 0,
    due_at       timestamptz,
    error        text,
    parked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    message_id   text,
    source       text,
    topic        text        NOT NULL,
    key          text,
    type         text,
    content_type text,
    headers      jsonb       NOT NULL,
    payload      bytea       NOT NULL,
    CONSTRAINT parked_state  CHECK (state IN ('waiting', 'dead')),
    CONSTRAINT parked_reason CHECK (reason IN ('failed', 'deferred', 'crashed', 'behind', 'rejected',
                                               'undecodable', 'unhandled', 'stale', 'future', 'no_id'))
);
CREATE INDEX parked_due ON inbox.parked (consumer, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX parked_key ON inbox.parked (consumer, key, id) WHERE holds_key;
COMMENT ON TABLE inbox.parked IS 'Deliveries that wait for another attempt, for the message before them, or for an operator';
COMMENT ON COLUMN inbox.parked.state IS 'waiting: will be tried again; dead: only an operator can revive or discard it';
COMMENT ON COLUMN inbox.parked.holds_key IS 'Later messages of the key wait behind this row';
COMMENT ON COLUMN inbox.parked.due_at IS 'Next attempt; null: waits for the row before it, or for an operator';

-- Moves the next row of a key forward once the row before it is gone. It has waited since it was parked: were
-- it due only now, it would be behind everything that has been put off meanwhile, which may wait for it. A minute
-- at most: what has been due for long is taken by processes that have no handler for it.
CREATE FUNCTION inbox.release_next(consumer text, key text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE inbox.parked AS p
    SET due_at = greatest(p.parked_at, clock_timestamp() - interval '1 minute')
    WHERE p.id = (SELECT n.id FROM inbox.parked AS n
                  WHERE n.consumer = release_next.consumer AND n.key = release_next.key AND n.holds_key
                  ORDER BY n.id LIMIT 1)
      AND p.reason = 'behind' AND p.due_at IS NULL
$$;

-- For operators: try a parked delivery again at once, dead or not. One behind others of its key waits for
-- its turn.
CREATE FUNCTION inbox.retry(id bigint) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION inbox.retry(bigint) IS 'Tries a parked delivery again, at once unless it is behind others of its key; false if there is none with this id';

-- For operators: give a parked delivery up for good and let its key go on.
CREATE FUNCTION inbox.discard(id bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
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
COMMENT ON FUNCTION inbox.discard(bigint) IS 'Deletes a parked delivery and releases the message behind it; false if there is none with this id';

INSERT INTO outbox.migration (version, name) VALUES (2, '0002_inbox');

COMMIT;
