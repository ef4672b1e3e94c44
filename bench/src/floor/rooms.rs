//! The rooms of a relay, whatever it speaks: who reads what, and how many messages there were. Nothing is
//! kept.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use parking_lot::Mutex;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, Durability, Event, EventKind, Open, ServerFrame, VERSION, Welcome};
use quoth_protocol::{ConversationName, Seq, UserId};
use tokio::sync::mpsc;

/// Where frames for a member go, with the member's lane for those who share a connection's only stream.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) lane: u32,
    pub(super) frames: mpsc::UnboundedSender<(u32, Bytes)>,
}

impl Out {
    /// Whether somebody is there to take it.
    fn send(&self, frame: Bytes) -> bool {
        self.frames.send((self.lane, frame)).is_ok()
    }
}

#[derive(Debug, Default)]
struct Room {
    head: Seq,
    readers: Vec<Out>,
}

/// All rooms.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms {
    by_name: Arc<Mutex<HashMap<ConversationName, Room>>>,
    fault: Option<Fault>,
}

/// What a floor does wrong, a relay with each hundredth message, so that tests can see the history checker
/// find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Lose,
    Double,
    Alter,
    /// An ack tells a sequence number far behind all others.
    Skip,
    /// Two acks have one sequence number.
    Repeat,
    /// Its process ends.
    Exit,
    /// Each flush waits, as for a processor.
    HoldUp,
}

impl Fault {
    /// The environment variable that asks for one.
    const VARIABLE: &str = "QUOTH_BENCH_FAULT";
    const EVERY: u64 = 100;

    pub(super) fn asked() -> Option<Self> {
        match std::env::var(Self::VARIABLE).ok()?.as_str() {
            "lose" => Some(Self::Lose),
            "double" => Some(Self::Double),
            "alter" => Some(Self::Alter),
            "skip" => Some(Self::Skip),
            "repeat" => Some(Self::Repeat),
            "exit" => Some(Self::Exit),
            "hold_up" => Some(Self::HoldUp),
            _ => None,
        }
    }
}

/// One stream or lane of a client.
#[derive(Debug)]
pub(super) struct Member {
    rooms: Rooms,
    out: Out,
    opened: Option<ConversationName>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        Self { by_name: Arc::default(), fault: Fault::asked() }
    }

    pub(super) fn member(&self, out: Out) -> Member {
        Member { rooms: self.clone(), out, opened: None }
    }
}

impl Member {
    /// Takes a frame and sends what it leads to.
    ///
    /// # Errors
    /// A frame that a relay does not know, or a member that is gone.
    pub(super) fn handle(&mut self, frame: ClientFrame) -> anyhow::Result<()> {
        let answer = match frame {
            ClientFrame::Hello(_) => welcome()?,
            ClientFrame::Open(open) => {
                let answer = self.open(&open);
                self.opened = Some(open.conversation);
                answer
            }
            ClientFrame::Publish(publish) => {
                let seq = self.acked(self.relay(publish.body)?);
                encode(&ServerFrame::Ack { n: publish.n, seq, time_ms: 0, duplicate: false })
            }
            other => anyhow::bail!("a relay does not know {other:?}"),
        };
        anyhow::ensure!(self.out.send(answer), "the member is gone");
        Ok(())
    }

    fn open(&self, open: &Open) -> Bytes {
        let mut rooms = self.rooms.by_name.lock();
        let room = rooms.entry(open.conversation.clone()).or_default();
        if open.from.is_some() {
            room.readers.push(self.out.clone());
        }
        encode(&ServerFrame::Opened { head: room.head, floor: Seq(1), store: 1 })
    }

    /// The sequence number that an ack tells.
    fn acked(&self, seq: Seq) -> Seq {
        let is_due = seq.0.is_multiple_of(Fault::EVERY);
        match self.rooms.fault.filter(|_| is_due) {
            Some(Fault::Skip) => Seq(seq.0 + 1_000_000),
            Some(Fault::Repeat) => Seq(seq.0 - 1),
            _ => seq,
        }
    }

    fn relay(&self, body: Bytes) -> anyhow::Result<Seq> {
        let name = self.opened.as_ref().context("a publish before Open")?;
        let mut rooms = self.rooms.by_name.lock();
        let room = rooms.entry(name.clone()).or_default();
        room.head = room.head.next();
        if !room.readers.is_empty() {
            let seq = room.head;
            let fault = self.rooms.fault.filter(|_| seq.0.is_multiple_of(Fault::EVERY));
            let body = if fault == Some(Fault::Alter) { body.slice(..body.len() - 1) } else { body };
            let (kind, sender) = (EventKind::message(body), UserId::new("relay")?);
            let event = Event { seq, time_ms: 0, sender, origin_time_ms: None, kind };
            let event = encode(&ServerFrame::Event(event));
            let times = match fault {
                Some(Fault::Exit) => std::process::exit(1),
                Some(Fault::Lose) => 0,
                Some(Fault::Double) => 2,
                Some(Fault::Alter | Fault::Skip | Fault::Repeat | Fault::HoldUp) | None => 1,
            };
            for _ in 0..times {
                room.readers.retain(|reader| reader.send(event.clone()));
            }
        }
        Ok(room.head)
    }
}

fn welcome() -> anyhow::Result<Bytes> {
    Ok(encode(&ServerFrame::Welcome(Welcome {
        version: VERSION,
        features: 0,
        user: UserId::new("relay")?,
        durability: Durability::Memory,
        time_ms: 0,
        open_conversations_max: u32::MAX,
        server: "relay".to_owned(),
    })))
}
