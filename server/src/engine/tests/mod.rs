//! What the engine promises, over a log and a view that block, fail and panic when a test says so.

mod changes;
mod durable;
mod faults;
mod loads;
mod notes;
mod retention;
mod rosters;
mod world;
