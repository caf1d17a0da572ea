//! SQLite preparation, case by case: what a database is like before, and how `prepare` ends.

mod bench;
mod hostile;
mod leftovers;
mod live;
mod rows;
mod schema;
mod worker;
