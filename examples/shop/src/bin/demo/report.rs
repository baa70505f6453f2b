//! Result tables of the demo.

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets::UTF8_HORIZONTAL_ONLY};
use shop::terminal::{dollars, print, thousands};

use crate::{figures::All, settle::TapReport, totals::Totals};

/// A row of sums: its name, the function that reads the value, and the value's format.
type Row = (&'static str, fn(&Totals) -> i64, fn(i64) -> String);

/// Results of a demo.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) file: Totals,
    pub(crate) figures: All,
    pub(crate) tap: TapReport,
    /// `true` if nothing was killed; otherwise repeated messages are expected.
    pub(crate) calm: bool,
}

impl Report {
    /// Prints the tables. Returns `true` if every figure is right.
    pub(crate) fn print(&self) -> bool {
        let (sums, sums_right) = self.sums();
        let (checks, checks_right) = self.checks();
        print(format!("\n{sums}\n{checks}\n{}", self.speed()));
        if let Some(first) = &self.tap.first_broken {
            print(format!("first key out of order: {first}"));
        }
        sums_right && checks_right
    }

    /// Compares the sums of the file with the sums of each service.
    fn sums(&self) -> (Table, bool) {
        let mut table = empty();
        table.set_header(
            [
                "",
                "file",
                "orders service",
                "billing",
                "loyalty",
                "shipping",
            ]
            .map(heading),
        );
        let holders = [
            self.figures.orders.totals,
            self.figures.billing.totals,
            self.figures.loyalty.totals,
            self.figures.shipping.totals,
        ];
        let rows: [Row; 4] = [
            ("orders", |totals| totals.orders, thousands),
            ("customers", |totals| totals.customers, thousands),
            ("CDs", |totals| totals.cds, thousands),
            ("dollars", |totals| totals.cents, dollars),
        ];
        let mut right = true;
        for (name, value, shown) in rows {
            let expected = value(&self.file);
            let mut row = vec![Cell::new(name), number(shown(expected))];
            for holder in &holders {
                let held = value(holder);
                right &= held == expected;
                row.push(checked(shown(held), held == expected));
            }
            table.add_row(row);
        }
        (table, right)
    }

    /// Checks the other figures.
    fn checks(&self) -> (Table, bool) {
        let Self {
            file,
            figures,
            tap,
            calm,
        } = self;
        let mut table = empty();
        table.set_header(["", "found", "expected"].map(heading));
        let mut all_right = true;
        for (name, found, expected) in [
            ("orders marked invoiced", figures.orders.own, file.orders),
            ("effects beyond one per message", figures.twice(), 0),
            ("customers out of order (loyalty)", figures.loyalty.own, 0),
            ("valuable orders not insured", figures.orders.uninsured, 0),
            (
                "events committed in all outboxes",
                figures.events(),
                2 * file.orders + file.customers,
            ),
            (
                "commands and replies committed",
                figures.commands(),
                2 * figures.shipping.own,
            ),
            (
                "distinct events the tap saw",
                tap.distinct,
                figures.events(),
            ),
            ("keys out of order at the tap", tap.broken_keys, 0),
        ] {
            let right = found == expected;
            all_right &= right;
            let found = checked(thousands(found), right);
            table.add_row(vec![Cell::new(name), found, number(thousands(expected))]);
        }
        let repeated = *calm || tap.repeats > 0;
        all_right &= repeated;
        let some = if *calm { "any" } else { "more than 0" };
        for (name, count, right, expected) in [
            ("events published again", tap.repeats, repeated, some),
            ("redelivered to the tap", tap.redelivered, true, "any"),
        ] {
            let count = checked(thousands(count), right);
            table.add_row(vec![Cell::new(name), count, number(expected.to_owned())]);
        }
        (table, all_right)
    }

    fn speed(&self) -> String {
        let committed = self.figures.events() + self.figures.commands();
        match self.figures.seconds() {
            Some(seconds) if seconds > 0.0 => format!(
                "{} messages per second: {} in {seconds:.1} s from first commit to last effect",
                thousands((committed as f64 / seconds).round() as i64),
                thousands(committed),
            ),
            _ => "no effect, so no messages per second".to_owned(),
        }
    }
}

fn empty() -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    if std::env::var_os("NO_COLOR").is_some() {
        table.force_no_tty();
    }
    table
}

fn heading(text: &str) -> Cell {
    let cell = Cell::new(text).add_attribute(Attribute::Bold);
    cell.set_alignment(CellAlignment::Right)
}

fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn checked(text: String, right: bool) -> Cell {
    if right {
        number(text).fg(Color::Green)
    } else {
        number(format!("WRONG {text}")).fg(Color::Red)
    }
}
