//! Who sits where: conversations, seats, and where publishers get their messages from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use super::conversation::{Conversation, Publishers};
use super::crew::Seat;
use super::member::Member;
use super::single::names;
use crate::check::Checker;
use crate::outcome::Check;
use crate::profile::Shape;
use crate::schedule::Due;
use crate::system::Part;

/// What all threads of a load share.
#[derive(Debug)]
pub(super) struct Stage {
    conversations: Vec<Arc<Conversation>>,
    pub(super) publishers: Arc<Publishers>,
    /// Whether closed loops are to end.
    pub(super) stopped: Arc<AtomicBool>,
    desks: Mutex<HashMap<u32, mpsc::UnboundedReceiver<Due>>>,
    letters: Mutex<Vec<mpsc::UnboundedSender<Due>>>,
}

impl Stage {
    pub(super) fn new(shape: &Shape) -> Self {
        let conversation = |(c, name)| {
            Arc::new(Conversation::new(name, shape.readers(), c * shape.publishers, shape.publishers))
        };
        let publishers = shape.conversations * shape.publishers;
        let (letters, desks): (Vec<_>, Vec<_>) = (0..publishers).map(|_| mpsc::unbounded_channel()).unzip();
        Self {
            conversations: (0..).zip(names(shape)).map(conversation).collect(),
            publishers: Arc::new(Publishers::new(publishers as usize)),
            stopped: Arc::default(),
            desks: Mutex::new((0..).zip(desks).collect()),
            letters: Mutex::new(letters),
        }
    }

    /// The seats of each of so many threads.
    pub(super) fn seats(&self, shape: &Shape, threads: usize) -> Vec<Vec<Seat>> {
        let mut seats: Vec<Seat> = (0..shape.connections).map(|_| Seat { members: Vec::new() }).collect();
        let windows: Vec<Arc<Semaphore>> =
            (0..shape.connections).map(|_| Arc::new(Semaphore::new(shape.window as usize))).collect();
        for (c, conversation) in (0..).zip(&self.conversations) {
            for m in 0..shape.members {
                let part = match (m < shape.publishers, shape.publishers_read) {
                    (true, true) => Part::Both,
                    (true, false) => Part::Publish,
                    (false, _) => Part::Read,
                };
                let seat = (c * shape.members + m) % shape.connections;
                seats[seat as usize].members.push(Member {
                    conversation: Arc::clone(conversation),
                    conversation_index: c,
                    part,
                    window: Arc::clone(&windows[seat as usize]),
                    // The publishers of one conversation have numbers next to each other.
                    publisher: c * shape.publishers + m,
                    is_stalled: part == Part::Read && c >= shape.conversations - shape.stalled,
                });
            }
        }
        let threads = threads.clamp(1, seats.len());
        let mut of_threads: Vec<Vec<Seat>> = (0..threads).map(|_| Vec::new()).collect();
        for (i, seat) in seats.into_iter().enumerate() {
            of_threads[i % threads].push(seat);
        }
        of_threads
    }

    /// The messages of a publisher, for whoever asks first.
    pub(super) fn messages_of(&self, publisher: u32) -> mpsc::UnboundedReceiver<Due> {
        self.desks.lock().remove(&publisher).unwrap_or_else(|| mpsc::unbounded_channel().1)
    }

    /// Where all publishers' messages are put, for whoever asks first.
    pub(super) fn take_letters(&self) -> Vec<mpsc::UnboundedSender<Due>> {
        std::mem::take(&mut self.letters.lock())
    }

    /// Ends closed loops, also those that wait for deliveries.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.conversations.iter().for_each(|conversation| conversation.moved.notify_waiters());
    }

    /// Ends all checks: a reader must have got all that was acked in its conversation.
    pub(super) fn check(&self, checkers: impl Iterator<Item = (u32, Checker)>) -> Check {
        let mut whole = Check::default();
        for (c, checker) in checkers {
            whole.add(&checker.end(self.conversations[c as usize].expected_of()));
        }
        whole
    }
}
