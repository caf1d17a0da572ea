//! imagefs
pub mod sqlite;
