//! Privileges that the relay's user needs.

/// Returns the privileges that the session's user lacks, one per row.
pub(crate) const MISSING: &str = "
SELECT p.what FROM (VALUES
    ('USAGE on schema outbox', has_schema_privilege('outbox', 'USAGE')),
    ('SELECT on outbox.message', has_table_privilege('outbox.message', 'SELECT')),
    ('SELECT, INSERT, DELETE on outbox.checkpoint',
     has_table_privilege('outbox.checkpoint', 'SELECT') AND
     has_table_privilege('outbox.checkpoint', 'INSERT') AND
     has_table_privilege('outbox.checkpoint', 'DELETE')),
    ('SELECT, INSERT, UPDATE, DELETE on outbox.parked',
     has_table_privilege('outbox.parked', 'SELECT') AND
     has_table_privilege('outbox.parked', 'INSERT') AND
     has_table_privilege('outbox.parked', 'UPDATE') AND
     has_table_privilege('outbox.parked', 'DELETE')),
    ('SELECT, INSERT, DELETE on outbox.segment',
     has_table_privilege('outbox.segment', 'SELECT') AND
     has_table_privilege('outbox.segment', 'INSERT') AND
     has_table_privilege('outbox.segment', 'DELETE')),
    ('SELECT, UPDATE on sequence outbox.message_position',
     has_sequence_privilege('outbox.message_position', 'SELECT') AND
     has_sequence_privilege('outbox.message_position', 'UPDATE'))
) AS p (what, granted) WHERE NOT p.granted
UNION ALL
SELECT 'SELECT, TRUNCATE on ' || leaf.name
FROM (SELECT 'outbox.message_' || lpad(slot::text, 2, '0') FROM generate_series(0, 15) AS slot)
     AS leaf (name)
WHERE NOT (has_table_privilege(leaf.name, 'SELECT') AND has_table_privilege(leaf.name, 'TRUNCATE'))";
