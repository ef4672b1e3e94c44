//! The harness and everything that needs a whole server.

pub mod fuzz;
