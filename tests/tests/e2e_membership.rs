//! Who may do what, with real servers, over QUIC and WebSocket alike: what was taken away ends at once, what
//! is not allowed looks like what does not exist, and all of it is there again after a crash.

#[path = "e2e_membership/blocks.rs"]
mod blocks;
#[path = "e2e_membership/ends.rs"]
mod ends;
#[path = "e2e_membership/lists.rs"]
mod lists;
#[path = "e2e_membership/races.rs"]
mod races;
#[path = "e2e_membership/restart.rs"]
mod restart;
#[path = "e2e_membership/rules.rs"]
mod rules;
#[path = "e2e_membership/world.rs"]
mod world;
