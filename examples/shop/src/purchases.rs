//! Reader of a file of purchases.
//!
//! Each line holds a purchase: customer, date (yyyymmdd), number of CDs and dollars, separated by blanks. A
//! first line that begins with `customer_id` is a header. Lines may end in CRLF.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use anyhow::Context as _;
use chrono::NaiveDate;

/// A purchase, read from a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Number of the line, from 1.
    pub line: i64,
    /// Id of the customer.
    pub customer: i64,
    /// Day of the purchase.
    pub date: NaiveDate,
    /// Number of CDs.
    pub cds: i32,
    /// Amount in cents.
    pub cents: i64,
}

/// Error of a malformed line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The number of columns is wrong.
    #[error("{0} fields instead of 4 (customer, date, CDs, dollars)")]
    Fields(usize),
    /// The customer is not a number.
    #[error("customer {0:?} is not a number from 0")]
    Customer(String),
    /// The date is not a day.
    #[error("date {0:?} is not a day written as yyyymmdd")]
    Date(String),
    /// The number of CDs is not a positive number.
    #[error("{0:?} CDs: not a number from 1")]
    Cds(String),
    /// The amount is not a number with two decimals.
    #[error("{0:?} dollars: not an amount with two decimals, such as 11.77")]
    Dollars(String),
}

impl Purchase {
    /// Parses a line.
    ///
    /// # Errors
    /// Returns the first error of the line.
    pub fn parse(line: i64, text: &str) -> Result<Self, Malformed> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [customer, date, cds, dollars] = fields[..] else {
            return Err(Malformed::Fields(fields.len()));
        };
        Ok(Self {
            line,
            customer: digits(customer).ok_or_else(|| Malformed::Customer(customer.to_owned()))?,
            date: day(date).ok_or_else(|| Malformed::Date(date.to_owned()))?,
            cds: positive(cds).ok_or_else(|| Malformed::Cds(cds.to_owned()))?,
            cents: cents(dollars).ok_or_else(|| Malformed::Dollars(dollars.to_owned()))?,
        })
    }
}

/// Reads the purchases of a file one after another. Items after an error are unusable.
///
/// # Errors
/// Fails if the file cannot be opened; items fail with the file's name and the line's number.
pub fn read(file: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Purchase>>> {
    let lines = open(file)?.lines().zip(1_i64..);
    Ok(lines.filter_map(move |(text, line)| {
        let location = || format!("{}, line {line}", file.display());
        match text.with_context(location) {
            Ok(text) if is_no_purchase(line, &text) => None,
            Ok(text) => Some(Purchase::parse(line, &text).with_context(location)),
            Err(error) => Some(Err(error)),
        }
    }))
}

/// Counts the purchases of a file, including malformed ones.
///
/// # Errors
/// Fails if the file cannot be read.
pub fn count(file: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    for (text, line) in open(file)?.split(b'\n').zip(1_i64..) {
        let text = text.with_context(|| format!("reading {}", file.display()))?;
        count += u64::from(!is_no_purchase(line, &String::from_utf8_lossy(&text)));
    }
    Ok(count)
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(BufReader::new(opened))
}

fn is_no_purchase(line: i64, text: &str) -> bool {
    let first = text.split_whitespace().next();
    first.is_none() || (line == 1 && first == Some("customer_id"))
}

fn digits(text: &str) -> Option<i64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn day(text: &str) -> Option<NaiveDate> {
    if text.len() != 8 {
        return None;
    }
    let number = digits(text)?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32)
}

fn positive(text: &str) -> Option<i32> {
    let number = digits(text)?.try_into().ok()?;
    (number >= 1).then_some(number)
}

/// Parses dollars to cents without a float, because 0.29 * 100 is 28.999999999999996.
fn cents(text: &str) -> Option<i64> {
    let (dollars, cents) = text.split_once('.')?;
    if dollars.is_empty() || cents.len() != 2 {
        return None;
    }
    digits(dollars)?
        .checked_mul(100)?
        .checked_add(digits(cents)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono::NaiveDate;

    use super::{Malformed, Purchase, count, read};

    fn parse(text: &str) -> Result<Purchase, Malformed> {
        Purchase::parse(7, text)
    }

    #[test]
    fn a_line_with_crlf_is_a_purchase() {
        let purchase = Purchase {
            line: 7,
            customer: 2,
            date: NaiveDate::from_ymd_opt(1997, 1, 12).unwrap(),
            cds: 5,
            cents: 7_700,
        };
        assert_eq!(parse(" 00002 19970112  5   77.00\r"), Ok(purchase.clone()));
        assert_eq!(parse("2 19970112 5 77.00"), Ok(purchase));
    }

    #[test]
    fn cents_are_exact() {
        for (dollars, cents) in [("0.00", 0), ("0.29", 29), ("1286.01", 128_601)] {
            let line = format!("1 19970101 1 {dollars}");
            assert_eq!(parse(&line).unwrap().cents, cents);
        }
    }

    #[test]
    fn each_field_is_checked() {
        let text = String::from;
        for (line, error) in [
            ("1 19970101 1", Malformed::Fields(3)),
            ("1 19970101 1 1.00 x", Malformed::Fields(5)),
            ("x1 19970101 1 1.00", Malformed::Customer(text("x1"))),
            ("-1 19970101 1 1.00", Malformed::Customer(text("-1"))),
            ("1 19970229 1 1.00", Malformed::Date(text("19970229"))),
            ("1 1997011 1 1.00", Malformed::Date(text("1997011"))),
            ("1 1997-1-1 1 1.00", Malformed::Date(text("1997-1-1"))),
            ("1 19970101 0 1.00", Malformed::Cds(text("0"))),
            (
                "1 19970101 9999999999 1.00",
                Malformed::Cds(text("9999999999")),
            ),
            ("1 19970101 1 1", Malformed::Dollars(text("1"))),
            ("1 19970101 1 .50", Malformed::Dollars(text(".50"))),
            ("1 19970101 1 1.5", Malformed::Dollars(text("1.5"))),
            ("1 19970101 1 -1.50", Malformed::Dollars(text("-1.50"))),
            ("1 19970101 1 1e3.00", Malformed::Dollars(text("1e3.00"))),
            (
                "1 19970101 1 99999999999999999.00",
                Malformed::Dollars(text("99999999999999999.00")),
            ),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
    }

    #[test]
    fn a_malformed_line_is_named_after_the_lines_before_it() {
        let file = std::env::temp_dir().join(format!("shop-purchases-{}", std::process::id()));
        std::fs::write(
            &file,
            "customer_id date\r\n1 19970101 1 1.00\r\n\r\n1 bad\r\n",
        )
        .unwrap();
        let read: Vec<_> = read(&file).unwrap().collect();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read[0].as_ref().unwrap().line, 2);
        let error = format!("{:#}", read[1].as_ref().unwrap_err());
        assert_eq!(
            error,
            format!(
                "{}, line 4: 2 fields instead of 4 (customer, date, CDs, dollars)",
                file.display()
            )
        );
    }

    #[test]
    fn the_orders_file_has_the_documented_sums() {
        let file = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../data/cdnow_orders.txt"
        ));
        assert_eq!(count(file).unwrap(), 69_659);
        let purchases: Vec<Purchase> = read(file).unwrap().map(Result::unwrap).collect();
        let customers: std::collections::HashSet<i64> =
            purchases.iter().map(|purchase| purchase.customer).collect();
        assert_eq!(purchases.len(), 69_659);
        assert_eq!(customers.len(), 23_570);
        assert_eq!(purchases.iter().map(|p| p.cds).sum::<i32>(), 167_881);
        assert_eq!(purchases.iter().map(|p| p.cents).sum::<i64>(), 250_031_563);
    }
}
