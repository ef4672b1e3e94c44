//! The events between a conversation's task and the application, counted in bytes.
//!
//! The queue takes whatever it is given; who fills it asks [`Sender::bytes`] when to stop and waits for
//! [`Sender::drained`] to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind};
use tokio::sync::{Notify, mpsc};

use crate::events::ClientEvent;

/// What an event costs beside its body, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// The task's end.
#[derive(Debug)]
pub(crate) struct Sender {
    events: mpsc::UnboundedSender<ClientEvent>,
    level: Arc<Level>,
}

/// The application's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    events: mpsc::UnboundedReceiver<ClientEvent>,
    level: Arc<Level>,
}

#[derive(Debug)]
struct Level {
    bytes: AtomicUsize,
    /// The last event of the log that was put in, and the last one that was taken out.
    sent: AtomicU64,
    taken: AtomicU64,
    low_water_bytes: usize,
    /// Rings when the level falls to the low water.
    low: Notify,
}

/// A queue that counts as drained at so many bytes.
pub(crate) fn queue(low_water_bytes: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let level = Arc::new(Level {
        bytes: AtomicUsize::new(0),
        sent: AtomicU64::new(0),
        taken: AtomicU64::new(0),
        low_water_bytes,
        low: Notify::new(),
    });
    (Sender { events: sender, level: Arc::clone(&level) }, Receiver { events: receiver, level })
}

impl Sender {
    /// Puts an event behind all others. When the application has gone, so does the event.
    pub(crate) fn send(&self, event: ClientEvent) {
        self.level.bytes.fetch_add(cost(&event), Ordering::Relaxed);
        if let Some(seq) = seq(&event) {
            self.level.sent.store(seq.0, Ordering::Relaxed);
        }
        self.events.send(event).ok();
    }

    /// What waits for the application, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.level.bytes.load(Ordering::Relaxed)
    }

    /// The last event of the log that the application has taken, zero when it has none, and whether there are
    /// further ones.
    pub(crate) fn taken(&self) -> (Seq, bool) {
        let taken = self.level.taken.load(Ordering::Relaxed);
        (Seq(taken), self.level.sent.load(Ordering::Relaxed) > taken)
    }

    /// Whether the application has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.events.is_closed()
    }

    /// Waits until the application has gone. Cancel-safe.
    pub(crate) async fn closed(&self) {
        self.events.closed().await;
    }

    /// Waits until no more than the low water is left. Cancel-safe.
    pub(crate) async fn drained(&self) {
        while self.bytes() > self.level.low_water_bytes {
            // One that rang before this call is kept for it.
            self.level.low.notified().await;
        }
    }
}

impl Receiver {
    /// The next event, or `None` behind the last one when the task has ended the queue.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        let polled = self.events.poll_recv(cx);
        if let Poll::Ready(Some(event)) = &polled {
            if let Some(seq) = seq(event) {
                self.level.taken.store(seq.0, Ordering::Relaxed);
            }
            let cost = cost(event);
            let before = self.level.bytes.fetch_sub(cost, Ordering::Relaxed);
            let low_water = self.level.low_water_bytes;
            if before > low_water && before - cost <= low_water {
                self.level.low.notify_one();
            }
        }
        polled
    }
}

/// The place of an event of the log.
fn seq(event: &ClientEvent) -> Option<Seq> {
    match event {
        ClientEvent::Event(Event { seq, .. }) | ClientEvent::Unknown { seq, .. } => Some(*seq),
        _ => None,
    }
}

fn cost(event: &ClientEvent) -> usize {
    let body_bytes = match event {
        ClientEvent::Event(Event {
            kind: EventKind::Message { body, .. } | EventKind::Edited { body, .. },
            ..
        }) => body.len(),
        _ => 0,
    };
    EVENT_OVERHEAD_BYTES + body_bytes
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_is_drained_at_the_low_water() {
        let (sender, mut receiver) = queue(2 * EVENT_OVERHEAD_BYTES);
        for seq in 1..=4 {
            sender.send(ClientEvent::CaughtUp { head: Seq(seq) });
        }
        let drain = async {
            for left in [3, 2] {
                poll_fn(|cx| receiver.poll_next(cx)).await.unwrap();
                assert_eq!(sender.bytes(), left * EVENT_OVERHEAD_BYTES);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(sender.drained(), drain);
        assert!(!sender.is_closed());
        drop(receiver);
        sender.closed().await;
    }
    #[tokio::test]
    async fn it_is_known_how_far_the_application_is() {
        let (sender, mut receiver) = queue(0);
        assert_eq!(sender.taken(), (Seq(0), false));
        let unknown = |seq| {
            let sender = quoth_protocol::UserId::new("alice").unwrap();
            ClientEvent::Unknown { seq: Seq(seq), time_ms: 0, sender }
        };
        sender.send(unknown(1));
        sender.send(ClientEvent::CaughtUp { head: Seq(1) });
        sender.send(unknown(2));
        for expected in [(1, true), (1, true), (2, false)] {
            poll_fn(|cx| receiver.poll_next(cx)).await.unwrap();
            assert_eq!(sender.taken(), (Seq(expected.0), expected.1));
        }
    }
}
