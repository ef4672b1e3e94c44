//! Histories of a server that keeps its promises: a model of a few conversations with publishers, readers and
//! crashes.

use std::collections::{BTreeMap, VecDeque};

use quoth_protocol::{ConversationName, Seq, UserId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{Ack, Content, Entry, MessageId, ReaderId, Step, What};

const PRODUCERS: u64 = 3;
const READERS: ReaderId = 3;

/// A history of one conversation with about `actions` actions; the same for the same seed.
///
/// # Panics
/// Never: the names are good.
#[must_use]
pub fn good(name: &str, seed: u64, actions: usize) -> Vec<Step> {
    let conversation = ConversationName::new(name).expect("a good name");
    let mut model = Model {
        rng: StdRng::seed_from_u64(seed),
        steps: Vec::new(),
        log: Vec::new(),
        places: BTreeMap::new(),
        producers: (0..PRODUCERS).map(|_| Producer::default()).collect(),
        cursors: vec![Seq::ZERO; READERS as usize],
        time_ms: 1_000,
    };
    (0..READERS).for_each(|reader| model.attach(reader, false));
    (0..actions).for_each(|_| model.act());
    model.crash();
    (0..PRODUCERS).for_each(|producer| model.settle(producer, usize::MAX));
    (0..READERS).for_each(|reader| model.deliver(reader, usize::MAX));
    let entries = model.log.clone();
    model.steps.push(What::Log { floor: Seq(1), entries });
    let step = |what| Step { conversation: conversation.clone(), what };
    model.steps.into_iter().map(step).collect()
}

struct Model {
    rng: StdRng,
    steps: Vec<What>,
    log: Vec<Entry>,
    places: BTreeMap<(u64, u64), Entry>,
    producers: Vec<Producer>,
    cursors: Vec<Seq>,
    time_ms: u64,
}

/// A publisher of one producer id.
#[derive(Default)]
struct Producer {
    next_n: u64,
    /// Sent and not acked, oldest first.
    in_flight: VecDeque<(MessageId, Content)>,
}

impl Model {
    fn act(&mut self) {
        let producer = self.rng.random_range(0..PRODUCERS);
        let reader = self.rng.random_range(0..READERS);
        let count = self.rng.random_range(1..6);
        match self.rng.random_range(0..100) {
            0..40 => (0..count).for_each(|_| self.send(producer)),
            40..65 => self.settle(producer, count),
            65..90 => self.deliver(reader, count),
            90..96 => self.attach(reader, true),
            _ => self.crash(),
        }
    }

    fn send(&mut self, producer: u64) {
        let state = &mut self.producers[usize::try_from(producer).unwrap_or_default()];
        state.next_n += self.rng.random_range(1..3);
        let id = MessageId { producer, n: state.next_n };
        let user = UserId::new(format!("user{producer}")).expect("a good name");
        let content = Content::new(&user, format!("{producer}/{}", id.n).as_bytes());
        state.in_flight.push_back((id, content));
        self.steps.push(What::Sent { id, content });
    }

    /// Stores a message unless it is stored; true when it was.
    fn store(&mut self, id: MessageId, content: Content) -> (Entry, bool) {
        if let Some(entry) = self.places.get(&(id.producer, id.n)) {
            return (*entry, true);
        }
        self.time_ms += self.rng.random_range(0..3);
        let entry = Entry { seq: Seq(self.log.len() as u64 + 1), time_ms: self.time_ms, content };
        self.log.push(entry);
        self.places.insert((id.producer, id.n), entry);
        (entry, false)
    }

    /// The server stores and acks the oldest messages in flight.
    fn settle(&mut self, producer: u64, count: usize) {
        for _ in 0..count {
            let in_flight = &mut self.producers[usize::try_from(producer).unwrap_or_default()].in_flight;
            let Some((id, content)) = in_flight.pop_front() else { return };
            let (Entry { seq, time_ms, .. }, duplicate) = self.store(id, content);
            self.steps.push(What::Acked { id, ack: Ack { seq, time_ms, duplicate } });
        }
    }

    fn deliver(&mut self, reader: ReaderId, count: usize) {
        let cursor = self.cursors[reader as usize];
        let from = usize::try_from(cursor.0).unwrap_or_default();
        for entry in self.log.iter().skip(from).take(count) {
            self.steps.push(What::Delivered { reader, entry: *entry });
            self.cursors[reader as usize] = entry.seq;
        }
    }

    /// A new session, where the last one ended or, now and then, at a place before it.
    fn attach(&mut self, reader: ReaderId, may_go_back: bool) {
        let mut cursor = self.cursors[reader as usize];
        if may_go_back && self.rng.random_bool(0.3) {
            cursor = Seq(self.rng.random_range(0..=cursor.0));
        }
        self.cursors[reader as usize] = cursor;
        self.steps.push(What::Attached { reader, cursor });
    }

    /// Everybody loses the connection. Of what is in flight the server has stored some from the front; all is
    /// sent again.
    fn crash(&mut self) {
        for producer in 0..self.producers.len() {
            let in_flight: Vec<_> = self.producers[producer].in_flight.iter().copied().collect();
            let stored = self.rng.random_range(0..=in_flight.len());
            for (id, content) in &in_flight[..stored] {
                self.store(*id, *content);
            }
            self.steps.extend(in_flight.into_iter().map(|(id, content)| What::Sent { id, content }));
        }
        (0..READERS).for_each(|reader| self.attach(reader, true));
    }
}
