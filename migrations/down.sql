-- Postroom, down: removes both schemas with everything in them, undelivered messages included.
--
--   psql -v ON_ERROR_STOP=1 -f down.sql
-- Locks: ACCESS EXCLUSIVE on every table of schemas outbox and inbox; gives up after 5 s.
-- The roles of roles.sql stay, since other databases of the server may use them.

BEGIN;
SET LOCAL lock_timeout = '5s';
DROP SCHEMA IF EXISTS inbox CASCADE;
DROP SCHEMA IF EXISTS outbox CASCADE;
COMMIT;
