//! Tests of the classification.

use std::{error::Error, time::Duration};

use super::{Fate, Fates, HasFate};
use crate::{
    HandlerError,
    handler::{Disposition, HandlerFailure},
};

#[derive(Debug, thiserror::Error)]
enum Billing {
    #[error("no such customer")]
    NoCustomer,
    #[error("the customer has not arrived yet")]
    Early,
    #[error("the tax service is closed")]
    Closed,
}

impl HasFate for Billing {
    fn fate(&self) -> Fate {
        match self {
            Self::NoCustomer => Fate::Reject,
            Self::Early => Fate::NotYet,
            Self::Closed => Fate::Defer(Duration::from_mins(1)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("making an invoice")]
struct Invoicing(#[source] Billing);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Transparent(#[from] anyhow::Error);

fn by_type(error: &(dyn Error + 'static)) -> Option<Fate> {
    error.downcast_ref().map(Billing::fate)
}

fn decided(fates: &Fates, error: impl Into<HandlerError>) -> Disposition {
    HandlerFailure::new(error.into(), fates).disposition()
}

fn fates() -> Fates {
    let mut fates = Fates::default();
    fates.add(by_type);
    fates
}

#[test]
fn an_error_names_its_fate() {
    let minute = Duration::from_mins(1);
    for (error, expected) in [
        (Billing::NoCustomer, Disposition::Reject),
        (Billing::Early, Disposition::Defer(None)),
        (Billing::Closed, Disposition::Defer(Some(minute))),
    ] {
        assert_eq!(decided(&fates(), error), expected);
    }
    assert_eq!(decided(&fates(), "no stock"), Disposition::Retry);
}

#[test]
fn a_fate_is_found_in_the_errors_around_it() {
    let plain = || anyhow::Error::new(Billing::NoCustomer);
    let wrapped = || anyhow::Error::new(Invoicing(Billing::NoCustomer));
    let context = || plain().context("handling an order").context("billing");
    let fates = fates();
    for error in [plain(), wrapped(), context()] {
        assert_eq!(decided(&fates, error), Disposition::Reject);
    }
    assert_eq!(decided(&fates, Transparent(context())), Disposition::Reject);
    let boxed: Box<dyn Error + Send + Sync> = Invoicing(Billing::NoCustomer).into();
    assert_eq!(decided(&fates, boxed), Disposition::Reject);
}

#[test]
fn the_outermost_error_that_a_classifier_knows_decides() {
    let mut outer_last = fates();
    outer_last.add(|error| error.is::<Invoicing>().then_some(Fate::Retry));
    let error = Invoicing(Billing::NoCustomer);
    assert_eq!(decided(&outer_last, error), Disposition::Retry);
}

#[test]
fn of_two_classifiers_that_know_an_error_the_first_decides() {
    let mut fates = fates();
    fates.add(|_| Some(Fate::Retry));
    assert_eq!(decided(&fates, Billing::NoCustomer), Disposition::Reject);
    assert_eq!(decided(&fates, "no stock"), Disposition::Retry);
}
