//! Connections, and which of them have shown a key: those that have not leave the others room, and do not
//! stay.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quoth_core::places::{Origin, Places};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

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
    with_key: Arc<Semaphore>,
    without_key: Mutex<Places<Holder>>,
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
}

#[derive(Debug)]
enum Place {
    WithoutKey(u64),
    WithKey { _place: OwnedSemaphorePermit, _holder: Option<Holder> },
}

/// Tells when a connection has to go.
#[derive(Debug)]
pub(super) struct Stay {
    gone: oneshot::Receiver<Infallible>,
    visitor: Visitor,
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
            with_key: Arc::new(Semaphore::new(with_key)),
            // Whoever has a key shows it within moments, so the newest one is worth more than any older.
            without_key: Mutex::new(Places::new(without_key, 0)),
        })
    }

    /// Takes up a connection. When there are too many without a key, one of the address that has most of
    /// them has to go. `None` if there is no place for any.
    pub(super) fn come(self: &Arc<Self>, peer: IpAddr) -> Option<(Visitor, Stay)> {
        let (holder, gone) = oneshot::channel();
        let taken = self.without_key.lock().take(Some(Origin::new(peer)), 0, holder).ok()?;
        let place = Mutex::new(Place::WithoutKey(taken.number));
        let visitor = Visitor(Arc::new(Inner { visitors: Arc::clone(self), place }));
        Some((visitor.clone(), Stay { gone, visitor }))
    }
}

impl Visitor {
    /// It has shown a key. Where those with a key have all their places already, it stays as one without.
    pub(super) fn has_key(&self) {
        let Inner { visitors, place } = &*self.0;
        let mut place = place.lock();
        let Place::WithoutKey(number) = *place else { return };
        if let Ok(among) = Arc::clone(&visitors.with_key).try_acquire_owned() {
            let holder = visitors.without_key.lock().leave(number, 0);
            *place = Place::WithKey { _place: among, _holder: holder };
        }
    }

    fn is_known(&self) -> bool {
        matches!(*self.0.place.lock(), Place::WithKey { .. })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Place::WithoutKey(number) = *self.place.get_mut() {
            let _it_may_be_another_ones = self.visitors.without_key.lock().leave(number, 0);
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
    use futures_util::FutureExt as _;

    use super::{KEY_TIMEOUT, Stay, Visitor, Visitors};

    fn come(visitors: &std::sync::Arc<Visitors>, peer: &str) -> (Visitor, Stay) {
        visitors.come(peer.parse().unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_key_makes_room_and_does_not_stay() {
        let visitors = Visitors::of(12, 4);
        let mut known = Vec::new();
        for _ in 0..12 {
            let (visitor, stay) = come(&visitors, "192.0.2.9");
            visitor.has_key();
            known.push((visitor, Box::pin(stay.ends())));
        }
        let mut attackers: Vec<_> = (0..4)
            .map(|_| come(&visitors, "192.0.2.1"))
            .map(|(visitor, stay)| (visitor, Box::pin(stay.ends())))
            .collect();
        let (late, late_stays) = come(&visitors, "192.0.2.9");
        let mut late_stays = Box::pin(late_stays.ends());
        let gone: Vec<bool> =
            attackers.iter_mut().map(|(_, over)| over.as_mut().now_or_never().is_some()).collect();
        assert_eq!(gone, [true, false, false, false], "the oldest of the address that has most");
        // From one address, too, the newest one stays long enough to show a key.
        let (newest, newest_stays) = come(&visitors, "192.0.2.1");
        let mut newest_stays = Box::pin(newest_stays.ends());
        assert!(newest_stays.as_mut().now_or_never().is_none());
        late.has_key();
        assert!(
            !late.is_known() && late_stays.as_mut().now_or_never().is_none(),
            "those with one are as many as may be"
        );
        drop(known.remove(0));
        late.has_key();
        assert!(late.is_known());
        tokio::time::sleep(2 * KEY_TIMEOUT).await;
        assert!(newest_stays.now_or_never().is_some() && late_stays.now_or_never().is_none());
        assert!(known.iter_mut().all(|(_, over)| over.as_mut().now_or_never().is_none()));
        drop((attackers, newest, late, known));
        assert!(visitors.without_key.lock().is_empty());
        assert_eq!(visitors.with_key.available_permits(), 12);
    }
}
