//! Who sits where: conversations, seats, and where publishers get their messages from.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use quoth_network::Side;
use tokio::sync::{Semaphore, mpsc};

use super::conversation::{Conversation, Publishers};
use super::crew::Seat;
use super::member::Member;
use super::read_back::Unread;
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

    /// The seats of each of so many threads, and of so many more near to the servers where the shape has
    /// such.
    pub(super) fn seats(&self, shape: &Shape, threads: usize) -> Vec<(Side, Vec<Seat>)> {
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
        let (near, far): (Vec<_>, Vec<_>) =
            seats.into_iter().partition(|seat| shape.publishers_near && seat.only_publishes());
        let near = divided(near, threads).into_iter().map(|seats| (Side::Server, seats));
        near.chain(divided(far, threads).into_iter().map(|seats| (Side::Client, seats))).collect()
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

    /// Conversations that nobody reads, or whose readers all are stalled.
    pub(super) fn unread(&self, shape: &Shape) -> Vec<Unread> {
        let flowing = if shape.readers() == 0 { 0 } else { shape.conversations - shape.stalled };
        let first = if shape.publishers_read { shape.conversations } else { flowing };
        let unread = self.conversations.iter().skip(first as usize);
        unread.map(|c| Unread { name: c.name.clone(), acked: c.expected_of().collect() }).collect()
    }

    /// Ends all checks: a reader must have got all that was acked in its conversation, and acks leave no
    /// sequence number out.
    pub(super) fn check(&self, checkers: impl Iterator<Item = (u32, Checker)>) -> Check {
        let mut whole = Check::default();
        self.conversations.iter().for_each(|conversation| whole.add(&conversation.check_acks()));
        for (c, checker) in checkers {
            whole.add(&checker.end(self.conversations[c as usize].expected_of()));
        }
        whole
    }
}

/// Seats divided among so many threads, or as many as there are seats.
fn divided(seats: Vec<Seat>, threads: usize) -> Vec<Vec<Seat>> {
    let threads = threads.max(1).min(seats.len());
    let mut of_threads: Vec<Vec<Seat>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, seat) in seats.into_iter().enumerate() {
        of_threads[i % threads].push(seat);
    }
    of_threads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn publishers_alone_may_be_near_and_no_reader_is() {
        let seats = |more: &str| {
            let text = format!(
                "about = \"\"\nkind = \"open\"\nrate_per_s = 1\nconversations = 6\nmembers = 2\nconnections = 4\n{more}"
            );
            let shape = Profile::parse(&text).expect("a profile").shape;
            let seats = Stage::new(&shape).seats(&shape, 8);
            let on = |wanted: Side| -> usize {
                seats.iter().filter(|(side, _)| *side == wanted).map(|(_, seats)| seats.len()).sum()
            };
            (on(Side::Server), on(Side::Client))
        };
        assert_eq!(seats("publishers_near = false"), (0, 4));
        assert_eq!(seats("publishers_near = true"), (2, 2));
        assert_eq!(seats("publishers_near = true\npublishers_read = true"), (0, 4));
    }
}
