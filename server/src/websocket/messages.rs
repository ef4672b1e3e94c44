//! What a socket needs of what stands behind it.

use std::task::{Context, Poll};

use quoth_lanes::{Lanes, Message, Outgoing};
use quoth_protocol::Code;

/// Takes the messages that come over a socket and has those that are to be sent. For a session these are its
/// lanes, whose methods of the same names say more.
pub trait Messages: Unpin {
    /// Bytes that one message of the client may have at the moment.
    fn message_bytes_max(&self) -> usize;

    /// Takes a message that has come.
    ///
    /// # Errors
    /// When there is no place for it. The next thing to send is then a close.
    fn receive(&self, message: Message) -> Result<(), Code>;

    /// How many lanes the client has opened, since this was asked last, that nobody will ever serve.
    fn take_unserved(&self) -> u32;

    /// What is to be sent next.
    fn poll_next_message(&self, task: &mut Context<'_>) -> Poll<Outgoing>;

    /// The socket cannot be read any more, and is closed for this reason.
    fn close(&self, code: Code, text: &str);

    /// The client has closed the socket, with a code if its close had one of ours; or it is lost.
    fn closed_by_peer(&self, code: Option<Code>, text: &str);
}

impl Messages for Lanes {
    fn message_bytes_max(&self) -> usize {
        Self::message_bytes_max(self)
    }

    fn receive(&self, message: Message) -> Result<(), Code> {
        Self::receive(self, message)
    }

    fn take_unserved(&self) -> u32 {
        Self::take_unserved(self)
    }

    fn poll_next_message(&self, task: &mut Context<'_>) -> Poll<Outgoing> {
        Self::poll_next_message(self, task)
    }

    fn close(&self, code: Code, text: &str) {
        Self::close(self, code, text);
    }

    fn closed_by_peer(&self, code: Option<Code>, text: &str) {
        Self::closed_by_peer(self, code, text);
    }
}
