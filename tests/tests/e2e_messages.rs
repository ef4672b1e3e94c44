//! What becomes of messages, with real servers, over QUIC and WebSocket alike: edits, reactions, revocations,
//! what is hidden; and that whoever was away ends with the view of one who was there.

#[path = "e2e_messages/erasure.rs"]
mod erasure;
#[path = "e2e_messages/limits.rs"]
mod limits;
#[path = "e2e_messages/pages.rs"]
mod pages;
#[path = "e2e_messages/rights.rs"]
mod rights;
#[path = "e2e_messages/views.rs"]
mod views;
#[path = "e2e_membership/world.rs"]
#[expect(dead_code, reason = "the world of another test")]
mod world;

use quoth_protocol::request::Request;
use quoth_protocol::{Seq, UserId};

use world::name;

pub(crate) fn edit(seq: Seq, body: &str) -> Request {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    Request::Edit { conversation: name("room"), seq, body, mentions: Vec::new() }
}

pub(crate) fn edit_with(seq: Seq, mentions: Vec<UserId>) -> Request {
    Request::Edit { conversation: name("room"), seq, body: bytes::Bytes::from_static(b"hey"), mentions }
}

pub(crate) fn revoke(seq: Seq) -> Request {
    Request::Revoke { conversation: name("room"), seq }
}

pub(crate) fn react(seq: Seq, reaction: &str, on: bool) -> Request {
    Request::React { conversation: name("room"), seq, reaction: reaction.to_owned(), on }
}

pub(crate) fn hide(seq: Seq) -> Request {
    Request::Hide { conversation: name("room"), seq }
}

pub(crate) fn states(seqs: &[Seq]) -> Request {
    Request::Messages { conversation: name("room"), seqs: seqs.to_vec() }
}
