//! What the clients of one conversation share, on whatever threads they are.

use std::ops::Range;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Relaxed},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::acked::Acked;
use crate::outcome::Check;

/// A conversation of the load.
#[derive(Debug)]
pub(super) struct Conversation {
    /// Its name; no two runs share one.
    pub(super) name: String,
    /// Those who read.
    readers: u64,
    /// The first one's number among all publishers; those of a conversation are next to each other.
    first_publisher: u32,
    published: AtomicU64,
    /// Of each publisher.
    acked: Vec<AtomicU64>,
    /// Of all publishers together.
    seqs: Mutex<Acked>,
    delivered: AtomicU64,
    /// Wakes publishers whose window may have opened.
    pub(super) moved: Notify,
}

impl Conversation {
    pub(super) fn new(name: String, readers: u32, first_publisher: u32, publishers: u32) -> Self {
        Self {
            name,
            readers: u64::from(readers),
            first_publisher,
            published: AtomicU64::default(),
            acked: (0..publishers).map(|_| AtomicU64::default()).collect(),
            seqs: Mutex::default(),
            delivered: AtomicU64::default(),
            moved: Notify::new(),
        }
    }

    pub(super) fn published(&self, count: u64) {
        self.published.fetch_add(count, Relaxed);
    }

    pub(super) fn acked(&self, publisher: u32, count: u64) {
        let of_publisher = self.acked.get((publisher - self.first_publisher) as usize);
        of_publisher.map(|acked| acked.fetch_add(count, Relaxed));
    }

    /// Takes the sequence numbers that acks tell.
    pub(super) fn take_seqs(&self, seqs: &[u64]) {
        let mut acked = self.seqs.lock();
        seqs.iter().for_each(|seq| acked.take(*seq));
    }

    /// What these say, once all publishers are done.
    pub(super) fn check_acks(&self) -> Check {
        self.seqs.lock().end()
    }

    pub(super) fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Relaxed);
        self.moved.notify_waiters();
    }

    /// The numbers of its publishers.
    pub(super) fn publishers(&self) -> Range<u32> {
        let count = u32::try_from(self.acked.len()).unwrap_or(u32::MAX);
        self.first_publisher..self.first_publisher.saturating_add(count)
    }

    /// Messages that not all readers together have got as often as they must.
    pub(super) fn undelivered(&self) -> u64 {
        let by_all = self.delivered.load(Relaxed) / self.readers.max(1);
        self.published.load(Relaxed).saturating_sub(by_all)
    }

    /// Messages that each reader must have got, once all publishers are done.
    pub(super) fn expected(&self) -> u64 {
        self.acked.iter().map(|acked| acked.load(Relaxed)).sum()
    }

    /// The same by publisher.
    pub(super) fn expected_of(&self) -> impl Iterator<Item = (u32, u64)> {
        (self.first_publisher..).zip(self.acked.iter().map(|acked| acked.load(Relaxed)))
    }
}

/// Counts publishers that are not done, and tells everybody when there is none.
#[derive(Debug)]
pub(super) struct Publishers {
    busy: AtomicUsize,
    done: watch::Sender<bool>,
    given_up: watch::Sender<bool>,
}

/// The load has ended before its time; whoever has ended it says why.
#[derive(Debug)]
pub(super) struct GivenUp;

impl std::fmt::Display for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the load was given up")
    }
}

impl std::error::Error for GivenUp {}

impl Publishers {
    pub(super) fn new(busy: usize) -> Self {
        let (done, given_up) = (watch::Sender::new(busy == 0), watch::Sender::new(false));
        Self { busy: AtomicUsize::new(busy), done, given_up }
    }

    /// One has its last ack.
    pub(super) fn one_is_done(&self) {
        // What it has counted before is seen by whoever sees that all are done.
        if self.busy.fetch_sub(1, AcqRel) == 1 {
            self.done.send_replace(true);
        }
    }

    /// Nobody is waited for any longer, since something has failed or the user has asked to leave.
    pub(super) fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    pub(super) fn is_given_up(&self) -> bool {
        *self.given_up.borrow()
    }

    /// Waits until nobody is waited for any longer.
    pub(super) async fn given_up(&self) {
        let mut given_up = self.given_up.subscribe();
        let _never_fails = given_up.wait_for(|given_up| *given_up).await;
    }

    /// Turns true when all are done.
    pub(super) fn all_done(&self) -> watch::Receiver<bool> {
        self.done.subscribe()
    }
}
