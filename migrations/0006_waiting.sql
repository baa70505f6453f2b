-- Postroom 0006: whoever waits until a consumer has handled a message finds the message among the parked ones.
--
-- Run by the owner of the schema, after 0005:  psql -v ON_ERROR_STOP=1 -f 0006_waiting.sql
-- Locks: SHARE on inbox.parked, which holds up parking while the rows are read for an index; waits at most 5 s for it,
-- and changes nothing then.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '5s';

CREATE INDEX parked_message ON inbox.parked (consumer, message_id);

INSERT INTO outbox.migration (version, name, compatible_from) VALUES (6, '0006_waiting', 2);

COMMIT;
