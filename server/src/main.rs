//! The `quoth-server` command.
fn main() {}
