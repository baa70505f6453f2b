//! Sums of the orders file, computed without any code of the services.

use std::{collections::HashSet, fs, path::Path};

use anyhow::Context as _;

/// Sums over orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Totals {
    pub(crate) orders: i64,
    pub(crate) customers: i64,
    pub(crate) cds: i64,
    pub(crate) cents: i64,
}

/// Adds up a file that the import has found to be well-formed.
pub(crate) fn of_file(file: &Path) -> anyhow::Result<Totals> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let mut totals = Totals::default();
    let mut customers = HashSet::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(customer) = fields.next() else {
            continue;
        };
        let mut fields = fields.skip(1);
        let (Some(cds), Some(dollars)) = (fields.next(), fields.next()) else {
            continue;
        };
        // The amount has two decimals: without the point it is in cents.
        if let (Ok(customer), Ok(cds), Ok(cents)) = (
            customer.parse::<u64>(),
            cds.parse::<i64>(),
            dollars.replace('.', "").parse::<i64>(),
        ) {
            customers.insert(customer);
            totals.orders += 1;
            totals.cds += cds;
            totals.cents += cents;
        }
    }
    totals.customers = customers.len() as i64;
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Totals, of_file};

    #[test]
    fn the_orders_file_has_the_documented_sums() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/cdnow_orders.txt");
        let expected = Totals {
            orders: 69_659,
            customers: 23_570,
            cds: 167_881,
            cents: 250_031_563,
        };
        assert_eq!(of_file(Path::new(file)).unwrap(), expected);
    }
}
