//! The SQL of `migrations/`: applied by psql as an owner who is no superuser, used unprivileged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod append_only;
mod apply;
mod columns;
mod down;
mod hardened;
mod limits;
mod privileges;
mod publication;
mod ring;
mod upgrade;
mod versions;
