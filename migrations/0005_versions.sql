-- Postroom 0005: deliveries whose body has a newer version than a consumer's process knows wait for a process that
-- knows it.
--
-- Run by the owner of the schema, after 0004:  psql -v ON_ERROR_STOP=1 -f 0005_versions.sql
-- Locks: ACCESS EXCLUSIVE on inbox.parked, while its rows are read for an index; waits at most 5 s for it, and changes
-- nothing then.

BEGIN;
-- Nothing that others have made is found by its bare name, and so run by whoever runs this.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL lock_timeout = '5s';

ALTER TABLE inbox.parked ADD COLUMN version bigint;
COMMENT ON COLUMN inbox.parked.version IS
    'Version of the body; null if the message has none, or was parked by a release before this column';

-- Every row satisfies the narrower check that this one replaces.
ALTER TABLE inbox.parked DROP CONSTRAINT parked_reason;
ALTER TABLE inbox.parked ADD CONSTRAINT parked_reason
    CHECK (reason IN ('failed', 'deferred', 'crashed', 'behind', 'rejected', 'undecodable', 'unhandled', 'stale',
                      'future', 'no_id', 'untrusted', 'newer_version')) NOT VALID;

-- A process finds the rows whose version it knows, and none of the others.
CREATE INDEX parked_newer ON inbox.parked (consumer, (coalesce(type, topic)), version)
    WHERE reason = 'newer_version';

INSERT INTO outbox.migration (version, name, compatible_from) VALUES (5, '0005_versions', 2);

COMMIT;
