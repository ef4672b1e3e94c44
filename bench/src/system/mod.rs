//! What a load is played on: the server, a floor, a rival. A [`System`] is a running process that clients
//! connect to.
//!
//! The same load drives all of them through these traits, so none has a schedule, a checker or a clock of its
//! own.

pub mod lanes;
pub mod quic;
pub mod websocket;

use std::collections::HashSet;
use std::future::Future;

use bytes::Bytes;
use quoth_protocol::frame::{EventKind, ServerFrame, Start};

use crate::refusal::unexpected;

/// What a member of a conversation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Publishes and takes acks.
    Publish,
    /// Reads what is published from now on.
    Read,
    /// Both, so that it reads its own messages too.
    Both,
}

impl Part {
    /// Whether it publishes.
    #[must_use]
    pub fn publishes(self) -> bool {
        self != Self::Read
    }

    /// Whether it reads.
    #[must_use]
    pub fn reads(self) -> bool {
        self != Self::Publish
    }
}

/// What comes to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The oldest so many publishes that had none yet are acked. Acks come in order.
    Acks(u64),
    /// The sequence number that an ack tells, where the system numbers a conversation's messages from 1
    /// without a hole. In front of the [`Self::Acks`] that it is part of.
    Seq(u64),
    /// A message, with its seq where the system numbers a conversation's messages without a hole from any
    /// start.
    Message {
        /// Its number.
        seq: Option<u64>,
        /// What was published.
        body: Bytes,
    },
}

/// A running system.
pub trait System: Send + Sync + 'static {
    /// A connection to it.
    type Client: Client;

    /// Whether it acks what is published.
    fn acks(&self) -> bool {
        true
    }

    /// Connects a client and signs it in.
    ///
    /// # Errors
    /// When that fails; the text says what was tried.
    fn connect(&self) -> impl Future<Output = anyhow::Result<Self::Client>> + Send;
}

/// A connection.
pub trait Client: Send + Sync + 'static {
    /// Sends a member's messages.
    type Sender: Sender;
    /// Takes what comes to a member.
    type Receiver: Receiver;

    /// Enters a conversation; returns when everything published from now on comes to a reader.
    ///
    /// # Errors
    /// When it is refused.
    fn enter(
        &self,
        conversation: &str,
        part: Part,
    ) -> impl Future<Output = anyhow::Result<(Self::Sender, Self::Receiver)>> + Send;

    /// Datagrams that have come to this client, where the system speaks UDP.
    fn datagrams_received(&self) -> Option<u64> {
        None
    }

    /// Ends the connection and waits until the system knows it: one that only goes away leaves a server that
    /// sends to nobody, which ruins what is measured next.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A connection to a system that keeps what is published.
pub trait Keeps: Client {
    /// Enters a conversation as a reader from a place on, or as one that reads nothing.
    ///
    /// # Errors
    /// When it is refused.
    fn enter_from(
        &self,
        conversation: &str,
        from: Option<Start>,
    ) -> impl Future<Output = anyhow::Result<(Self::Sender, Self::Receiver)>> + Send;
}

/// The sending side of a member.
pub trait Sender: Send + 'static {
    /// Publishes all bodies, which are left empty, in as few writes as the system allows. May wait for flow
    /// control.
    ///
    /// # Errors
    /// When the connection is gone.
    fn publish(&mut self, bodies: &mut Vec<Bytes>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The receiving side of a member.
pub trait Receiver: Send + 'static {
    /// Waits until something comes and adds it to `into` with everything that is here besides. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the connection is gone or something is refused.
    fn receive(&mut self, into: &mut Vec<Received>) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// The acks of one publisher, whose numbers begin at 1: those of repeated messages and refusals may overtake
/// others.
#[derive(Debug, Default)]
struct Acks {
    /// All up to here have come.
    acked: u64,
    early: HashSet<u64>,
}

impl Acks {
    /// Takes what has come of a server of Quoth's frames.
    fn take(&mut self, frame: ServerFrame, into: &mut Vec<Received>) -> anyhow::Result<()> {
        match frame {
            ServerFrame::Event(event) => {
                let EventKind::Message { body, .. } = event.kind else {
                    return Err(unexpected("a message", Some(&ServerFrame::Event(event))));
                };
                into.push(Received::Message { seq: Some(event.seq.0), body });
            }
            ServerFrame::Ack { n, seq, duplicate: false, .. } => {
                into.push(Received::Seq(seq.0));
                into.extend(self.add(n));
            }
            other => return Err(unexpected("an event or an ack", Some(&other))),
        }
        Ok(())
    }

    fn add(&mut self, n: u64) -> Option<Received> {
        self.early.insert(n);
        let before = self.acked;
        while self.early.remove(&(self.acked + 1)) {
            self.acked += 1;
        }
        (self.acked > before).then(|| Received::Acks(self.acked - before))
    }
}
