//! The `quoth` command.
fn main() {}
