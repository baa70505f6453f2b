//! Output of `relay migrate`.

use migrations::MIGRATIONS;

/// Returns the lines for all migrations if the first `applied` of them were applied before.
pub fn migrated(applied: usize) -> String {
    let lines = MIGRATIONS.iter().enumerate().map(|(number, migration)| {
        let name = migration.name;
        if number < applied {
            format!("{name} is applied already\n")
        } else {
            format!("{name} applied\n")
        }
    });
    lines.collect()
}
