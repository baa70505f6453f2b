//! The parts of which the derive macro `Event` makes its code. An event written by hand needs none of them.

use std::fmt::Display;

/// The trait that every event needs beside [`Event`](crate::Event); a derived event with type parameters requires it.
pub use serde::ser::Serialize;

/// A value that can be the key of a derived event: any value with [`Display`], and an `Option` of such a value, whose
/// `None` leaves the event without a key.
///
/// `Form` is [`Plain`] or [`Optional`]; the compiler infers it from the value's type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an event's key",
    label = "neither implements `Display` nor is an `Option` of a type that does",
    note = "write the key as text: `key = |event| format!(…)`"
)]
pub trait ToKey<Form> {
    /// Returns the key; `None` if there is none.
    fn to_key(&self) -> Option<String>;
}

/// Form of a value that is a key.
#[derive(Debug)]
pub enum Plain {}

/// Form of an `Option`.
#[derive(Debug)]
pub enum Optional {}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> ToKey<Plain> for T {
    fn to_key(&self) -> Option<String> {
        Some(self.to_string())
    }
}

#[diagnostic::do_not_recommend]
impl<T: Display> ToKey<Optional> for Option<T> {
    fn to_key(&self) -> Option<String> {
        self.as_ref().map(ToString::to_string)
    }
}

/// Returns the key that a value is.
pub fn key<T, Form>(value: &T) -> Option<String>
where
    T: ToKey<Form> + ?Sized,
{
    value.to_key()
}
