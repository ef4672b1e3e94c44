//! Lanes: what stands for QUIC's streams on a WebSocket (`docs/PROTOCOL.md`, sections 9 and 10).
//!
//! A [`Lanes`] is one connection. On the one side there are streams, as `quinn` has them: [`Lanes::open`],
//! [`Lanes::accept`], [`LaneSend`], [`LaneRecv`]. On the other side somebody who has a socket moves messages:
//! [`Lanes::receive`] and [`Lanes::next_message`]. Between the two there is no socket, no clock and no
//! runtime, so that servers, clients and tests have the same.
//!
//! Memory is bounded: what the peer sends by the credit that it has, what is sent by [`OUTGOING_BYTES_MAX`],
//! above which lanes wait.
//!
//! ```
//! # use quoth_lanes::{Format, Lanes, Outgoing};
//! # use quoth_protocol::{codec::encode, frame::ServerFrame};
//! # async fn example() -> Option<()> {
//! let (client, server) = (Lanes::client(), Lanes::server(Format::Postcard));
//! let (mut send, _recv) = client.open().await.ok()?;
//! send.write_chunks(&mut [encode(&ServerFrame::TokenExpiring { in_ms: 1 })]).await.ok()?;
//! let Outgoing::Message(message) = client.next_message().await else { return None };
//! server.receive(message).ok()?;
//! let (_send, mut recv) = server.accept().await.ok()?;
//! assert_eq!(recv.read_chunk().await.ok()??.len(), 3);
//! # Some(())
//! # }
//! ```

mod format;
mod incoming;
mod lane;
mod state;
mod streams;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use quoth_protocol::Code;

pub use format::{Format, Message};
pub use state::{Closed, OUTGOING_BYTES_MAX};
use state::{Side, State};
pub use streams::{LaneRecv, LaneSend, ReadError, WriteError, Written};

/// One connection over a WebSocket. Clones are the same connection.
#[derive(Debug, Clone)]
pub struct Lanes {
    state: Arc<Mutex<State>>,
}

/// What is to be sent over the socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A message.
    Message(Message),
    /// A close with the code and its text: send it behind all messages and nothing after it. Comes again and
    /// again.
    Close(Closed),
}

impl Lanes {
    /// The server's end of a connection.
    #[must_use]
    pub fn server(format: Format) -> Self {
        Self::new(Side::Server, format)
    }

    /// A client's end of a connection, in [`Format::Postcard`].
    #[must_use]
    pub fn client() -> Self {
        Self::new(Side::Client, Format::Postcard)
    }

    fn new(side: Side, format: Format) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(side, format))) }
    }

    /// Opens a lane, as a client, once there are fewer than the peer allows. It gets its number with its
    /// first frame.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub async fn open(&self) -> Result<(LaneSend, LaneRecv), Closed> {
        let key = poll_fn(|task| self.state.lock().poll_open(task)).await?;
        Ok(self.streams(key))
    }

    /// The next lane that the client has opened. For one task at a time.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub async fn accept(&self) -> Result<(LaneSend, LaneRecv), Closed> {
        let key = poll_fn(|task| self.state.lock().poll_accept(task)).await?;
        Ok(self.streams(key))
    }

    fn streams(&self, key: u32) -> (LaneSend, LaneRecv) {
        (LaneSend::new(Arc::clone(&self.state), key), LaneRecv::new(Arc::clone(&self.state), key))
    }

    /// The sign-in has succeeded: the client may have so many lanes at once, the control lane among them, and
    /// messages of the full size.
    pub fn signed_in(&self, lanes_max: u32) {
        self.state.lock().signed_in(lanes_max);
    }

    /// Bytes that one message of the peer may have at the moment.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.state.lock().message_bytes_max()
    }

    /// Ends the connection, unless it has ended: behind what was written, the socket's side gets
    /// [`Outgoing::Close`].
    pub fn close(&self, code: Code, text: &str) {
        self.state.lock().end(Closed { code: Some(code), text: text.to_owned(), by_peer: false });
    }

    /// Why the connection has ended, if it has.
    #[must_use]
    pub fn close_reason(&self) -> Option<Closed> {
        self.state.lock().end_reason().cloned()
    }

    /// Waits until the connection has ended, and says why.
    pub async fn closed(&self) -> Closed {
        poll_fn(|task| self.state.lock().poll_end(task)).await
    }

    /// Sends a Ping, and waits for the peer's Pong. For one task at a time; when it is dropped and called
    /// again, the later Ping is the one that is waited for.
    ///
    /// # Errors
    /// Why the connection has ended.
    pub async fn ping(&self) -> Result<(), Closed> {
        let n = self.state.lock().ping();
        poll_fn(|task| self.state.lock().poll_pong(n, task)).await
    }

    /// Takes a message that has come over the socket.
    ///
    /// # Errors
    /// When it breaks the protocol. The connection has then ended with this code.
    pub fn receive(&self, message: Message) -> Result<(), Code> {
        self.state.lock().receive(message)
    }

    /// How many lanes the client has opened, since this was asked last, that will never come out of
    /// [`Lanes::accept`]: it has reset them before, or had as many as it may have. They are forgotten and
    /// cost no memory; who opens many of them costs time.
    #[must_use]
    pub fn take_unserved(&self) -> u32 {
        self.state.lock().take_unserved()
    }

    /// The peer has closed the connection, with a code if its close had one of ours; or it is lost.
    pub fn closed_by_peer(&self, code: Option<Code>, text: &str) {
        self.state.lock().end(Closed { code, text: text.to_owned(), by_peer: true });
    }

    /// The next message to send over the socket. For one task at a time; dropping the future loses nothing.
    pub async fn next_message(&self) -> Outgoing {
        poll_fn(|task| self.poll_next_message(task)).await
    }

    /// The same, for one who sends all that there is at once.
    pub fn poll_next_message(&self, task: &mut Context<'_>) -> Poll<Outgoing> {
        self.state.lock().poll_message(task)
    }
}
