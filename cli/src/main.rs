//! zapp
fn main() {}
