//! Stub.
pub mod capture;
pub mod publish;
