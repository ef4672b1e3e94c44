//! The processes that are measured, one behind the other: the server and the floors.

mod place;
mod quoth;
mod relay;

pub use place::Place;
pub use quoth::{Quoth, QuothOptions};
pub use relay::{Relay, Spoken};
