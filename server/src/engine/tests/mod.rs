//! What the engine promises, over a log and a view that block, fail and panic when a test says so.

mod changes;
mod clock;
mod cold;
mod durable;
mod erase;
mod faults;
mod lists;
mod loads;
mod messages;
mod moves;
mod notes;
mod outgoing;
mod previews;
mod queue;
mod receipts;
mod retention;
mod room;
mod rosters;
mod space;
mod world;
