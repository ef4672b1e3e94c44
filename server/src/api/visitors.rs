//! Connections, and which of them have shown a key: those that have not leave the others room, and do not
//! stay. Of those with a key one that waits between two requests makes room for another, and none is cut off
//! within one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quoth_core::places::{Origin, Places};
use tokio::sync::{Notify, oneshot};

/// Connections with a key at once for each request at once: some wait between two requests.
const CONNECTIONS_PER_REQUEST: usize = 4;

/// Connections without a key at once for each request at once, and how many there may be at least.
const WITHOUT_KEY_PER_REQUEST: usize = 1;
const WITHOUT_KEY_MIN: usize = 64;

/// How long a connection has until it shows a key: backends send their first request at once.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);

/// All connections.
#[derive(Debug)]
pub(super) struct Visitors {
    with_key: Mutex<WithKey>,
    without_key: Mutex<Places<Holder>>,
}

/// Those with a key.
#[derive(Debug)]
struct WithKey {
    max: usize,
    count: usize,
    next: u64,
    /// Those between two requests, the one first that has been there longest.
    waiting: BTreeMap<u64, Holder>,
}

/// What ends with a connection's place.
type Holder = oneshot::Sender<Infallible>;

/// A connection. Cheap to clone, and whoever answers its requests has one.
#[derive(Debug, Clone)]
pub(super) struct Visitor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    visitors: Arc<Visitors>,
    place: Mutex<Place>,
    /// Rings when it is to go behind the request that it is in.
    leaves: Notify,
}

#[derive(Debug)]
enum Place {
    /// Among those without a key, also when it has shown one and there is no place among the others.
    WithoutKey { number: u64, has_shown: bool },
    /// Among those with a key, in a request.
    Asks(Option<Holder>),
    /// Among those with a key, unless it has made room meanwhile.
    Waits(u64),
    /// It has made room.
    Nowhere,
}

/// Tells when a connection has to go.
#[derive(Debug)]
pub(super) struct Stay {
    gone: oneshot::Receiver<Infallible>,
    visitor: Visitor,
}

impl WithKey {
    /// Counts one more, if there is room, or one that makes it.
    fn enter(&mut self) -> bool {
        if self.count < self.max {
            self.count += 1;
            return true;
        }
        self.waiting.pop_first().is_some()
    }

    fn wait(&mut self, holder: Holder) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.insert(number, holder);
        number
    }
}

impl Visitors {
    /// As many as so many requests at once need.
    pub(super) fn new(requests_max: usize) -> Arc<Self> {
        Self::of(
            requests_max.saturating_mul(CONNECTIONS_PER_REQUEST),
            requests_max.saturating_mul(WITHOUT_KEY_PER_REQUEST).max(WITHOUT_KEY_MIN),
        )
    }

    fn of(with_key: usize, without_key: usize) -> Arc<Self> {
        Arc::new(Self {
            with_key: Mutex::new(WithKey { max: with_key, count: 0, next: 0, waiting: BTreeMap::new() }),
            // Whoever has a key shows it within moments, so the newest one is worth more than any older.
            without_key: Mutex::new(Places::new(without_key, 0)),
        })
    }

    /// Takes up a connection. When there are too many without a key, one of the address that has most of
    /// them has to go. `None` if there is no place for any.
    pub(super) fn come(self: &Arc<Self>, peer: IpAddr) -> Option<(Visitor, Stay)> {
        let (holder, gone) = oneshot::channel();
        let taken = self.without_key.lock().take(Some(Origin::new(peer)), 0, holder).ok()?;
        let place = Mutex::new(Place::WithoutKey { number: taken.number, has_shown: false });
        let visitor = Visitor(Arc::new(Inner { visitors: Arc::clone(self), place, leaves: Notify::new() }));
        Some((visitor.clone(), Stay { gone, visitor }))
    }
}

impl Visitor {
    /// It has shown a key, with a request. Where those with a key have all their places and all of them are
    /// in requests, it keeps the one that it has.
    pub(super) fn has_key(&self) {
        let Inner { visitors, place, .. } = &*self.0;
        let mut place = place.lock();
        match &mut *place {
            Place::WithoutKey { number, has_shown } => {
                *has_shown = true;
                if visitors.with_key.lock().enter() {
                    *place = Place::Asks(visitors.without_key.lock().leave(*number, 0));
                }
            }
            Place::Waits(number) => {
                let holder = visitors.with_key.lock().waiting.remove(number);
                *place = holder.map_or(Place::Nowhere, |holder| Place::Asks(Some(holder)));
            }
            Place::Asks(_) | Place::Nowhere => {}
        }
    }

    /// Its request is answered.
    pub(super) fn answered(&self) {
        let mut place = self.0.place.lock();
        if let Place::Asks(holder) = &mut *place
            && let Some(holder) = holder.take()
        {
            *place = Place::Waits(self.0.visitors.with_key.lock().wait(holder));
        }
    }

    /// Whether it has shown a key at any time.
    pub(super) fn is_known(&self) -> bool {
        !matches!(*self.0.place.lock(), Place::WithoutKey { has_shown: false, .. })
    }

    /// Has it go once no request of it is under way.
    pub(super) fn leave(&self) {
        self.0.leaves.notify_one();
    }

    /// Ends when it is to go.
    pub(super) async fn leaves(&self) {
        self.0.leaves.notified().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        match *self.place.get_mut() {
            Place::WithoutKey { number, .. } => {
                let _it_may_be_another_ones = self.visitors.without_key.lock().leave(number, 0);
            }
            Place::Asks(_) => self.visitors.with_key.lock().count -= 1,
            Place::Waits(number) => {
                let mut with_key = self.visitors.with_key.lock();
                if with_key.waiting.remove(&number).is_some() {
                    with_key.count -= 1;
                }
            }
            Place::Nowhere => {}
        }
    }
}

impl Stay {
    /// Ends when the connection has to, without which it goes on: it has shown no key in time, or has to make
    /// room.
    pub(super) async fn ends(self) {
        let Self { gone, visitor } = self;
        let no_key = async {
            tokio::time::sleep(KEY_TIMEOUT).await;
            if visitor.is_known() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = gone => {}
            () = no_key => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures_util::FutureExt as _;

    use super::{KEY_TIMEOUT, Visitor, Visitors};

    type Ends = Pin<Box<dyn Future<Output = ()>>>;

    fn come(visitors: &std::sync::Arc<Visitors>, peer: &str) -> (Visitor, Ends) {
        let (visitor, stay) = visitors.come(peer.parse().unwrap()).unwrap();
        (visitor, Box::pin(stay.ends()))
    }

    fn has_to_go(ends: &mut Ends) -> bool {
        ends.now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_key_makes_room_and_does_not_stay() {
        let visitors = Visitors::of(12, 4);
        let come_with_key = |_| {
            let (visitor, ends) = come(&visitors, "192.0.2.9");
            visitor.has_key();
            (visitor, ends)
        };
        let mut known: Vec<_> = (0..11).map(come_with_key).collect();
        let mut attackers: Vec<_> = (0..4).map(|_| come(&visitors, "192.0.2.1")).collect();
        let (late, mut late_ends) = come(&visitors, "192.0.2.9");
        let gone: Vec<bool> = attackers.iter_mut().map(|(_, ends)| has_to_go(ends)).collect();
        assert_eq!(gone, [true, false, false, false], "the oldest of the address that has most");
        // From one address, too, the newest one stays long enough to show a key.
        let (newest, mut newest_ends) = come(&visitors, "192.0.2.1");
        assert!(!has_to_go(&mut newest_ends));
        late.has_key();
        tokio::time::sleep(2 * KEY_TIMEOUT).await;
        assert!(has_to_go(&mut newest_ends) && !has_to_go(&mut late_ends));
        assert!(known.iter_mut().all(|(_, ends)| !has_to_go(ends)));
        drop((attackers, newest, late, late_ends, known));
        assert!(visitors.without_key.lock().is_empty());
        assert_eq!(visitors.with_key.lock().count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn of_those_with_a_key_the_one_makes_room_that_has_waited_longest() {
        let visitors = Visitors::of(3, 4);
        let mut known: Vec<_> = (0..3).map(|_| come(&visitors, "192.0.2.9")).collect();
        known.iter().for_each(|(visitor, _)| visitor.has_key());
        // While all are in requests, one more has to do with what it has, and is not cut off for that.
        let (one_more, mut one_more_ends) = come(&visitors, "192.0.2.9");
        one_more.has_key();
        tokio::time::sleep(2 * KEY_TIMEOUT).await;
        assert!(!has_to_go(&mut one_more_ends) && one_more.is_known());
        assert!(known.iter_mut().all(|(_, ends)| !has_to_go(ends)), "they are in requests");
        known[1].0.answered();
        known[0].0.answered();
        // The one that asks again does not wait.
        known[1].0.has_key();
        one_more.has_key();
        let gone: Vec<bool> = known.iter_mut().map(|(_, ends)| has_to_go(ends)).collect();
        assert_eq!(gone, [true, false, false]);
        assert_eq!(visitors.with_key.lock().count, 3);
        known[0].0.has_key();
        known[0].0.answered();
        drop((known, one_more, one_more_ends));
        assert_eq!(visitors.with_key.lock().count, 0);
        assert!(visitors.without_key.lock().is_empty() && visitors.with_key.lock().waiting.is_empty());
    }
}
