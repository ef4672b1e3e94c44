//! Quoth's rules as pure state machines: no IO, no clock, no entropy, no runtime.
//!
//! Each machine takes an input (and the time, where time matters) and gives back outputs, which are data. The
//! shell in `quoth-server` performs them and feeds the results back. So a rule such as "an ack leaves only
//! after the flush" can be read, and tested, without a disk or a network.
//!
//! | module | decides |
//! |---|---|
//! | [`authorize`] | who may do what in which conversation |
//! | [`membership`] | what a managed conversation's events come to, and which changes become events |
//! | [`messages`] | what becomes of messages by edits, reactions and revocations |
//! | [`session`] | signing in, token refresh and expiry on a control stream |
//! | [`sequencer`] | seqs, times, and what a repeated message id gets |
//! | [`tail`] | which recent frames stay in memory, and where a cursor reads on |
//! | [`receipts`] | how far users have got and read, and when that is stored |
//! | [`unread`] | what a user has not read |
//! | [`inbox`] | the order of a user's conversations |
//! | [`conversation`] | what a conversation stream does with each frame |
//! | [`history`] | which part of a conversation a page tells of |
//! | [`breaker`] | whether somebody is asked who may not answer |
//! | [`login`] | which devices of a user stay when another one signs in |
//! | [`presence`] | who is there, away or gone |
//! | [`revocation`] | which tokens are revoked |
//! | [`retention`] | which events of a conversation are absent |
//! | [`rate`] | how often something may happen in a window of time |
//! | [`bucket`] | how fast something may go on, with a burst |
//! | [`places`] | who gives up a place when all are taken |

pub mod authorize;
pub mod breaker;
pub mod bucket;
pub mod conversation;
#[cfg(test)]
mod dice;
pub mod history;
pub mod inbox;
pub mod login;
pub mod membership;
pub mod messages;
pub mod places;
pub mod presence;
pub mod rate;
pub mod receipts;
mod register;
pub mod retention;
pub mod revocation;
pub mod sequencer;
pub mod session;
pub mod tail;
pub mod unread;
