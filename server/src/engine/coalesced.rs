//! One for all who want the same at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// What is being made for whoever wants it. Nothing of it is kept.
#[derive(Debug)]
pub(super) struct Coalesced<K: Eq + Hash, V>(Mutex<HashMap<K, Weak<OnceCell<Arc<V>>>>>);

impl<K: Eq + Hash, V> Default for Coalesced<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Coalesced<K, V> {
    /// What belongs to a key: from whoever makes it at the moment, or made now. Each who waits tries for
    /// themselves where that fails.
    pub(super) async fn get<E, F: Future<Output = Result<V, E>>>(
        &self,
        key: K,
        make: impl FnOnce(K) -> F,
    ) -> Result<Arc<V>, E> {
        let waiting = Waiting::new(self, key);
        let made = waiting.cell().get_or_try_init(|| async { make(waiting.key.clone()).await.map(Arc::new) });
        made.await.cloned()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// How many wait for anything.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().values().map(Weak::strong_count).sum()
    }
}

/// Somebody who waits. The last one takes the entry away.
struct Waiting<'a, K: Eq + Hash, V> {
    all: &'a Coalesced<K, V>,
    key: K,
    cell: Option<Arc<OnceCell<Arc<V>>>>,
}

impl<'a, K: Clone + Eq + Hash, V> Waiting<'a, K, V> {
    fn new(all: &'a Coalesced<K, V>, key: K) -> Self {
        let mut known = all.0.lock();
        let cell = known.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let cell = Arc::default();
            known.insert(key.clone(), Arc::downgrade(&cell));
            cell
        });
        drop(known);
        Self { all, key, cell: Some(cell) }
    }
}

impl<K: Eq + Hash, V> Waiting<'_, K, V> {
    fn cell(&self) -> &OnceCell<Arc<V>> {
        self.cell.as_deref().expect("it is held until it is dropped")
    }
}

impl<K: Eq + Hash, V> Drop for Waiting<'_, K, V> {
    fn drop(&mut self) {
        let mut known = self.all.0.lock();
        self.cell = None;
        // Under the lock, where nobody joins meanwhile.
        if known.get(&self.key).is_some_and(|cell| cell.strong_count() == 0) {
            known.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Poll;

    use tokio::sync::Semaphore;

    use super::Coalesced;

    async fn waits(future: &mut (impl Future + Unpin)) -> bool {
        poll_fn(|task| Poll::Ready(Pin::new(&mut *future).poll(task).is_pending())).await
    }

    #[tokio::test]
    async fn who_wants_the_same_at_once_gets_it_from_one() {
        let (all, made, gate) = (Coalesced::<u32, u32>::default(), AtomicUsize::new(0), Semaphore::new(0));
        let (count, closed) = (&made, &gate);
        let get = |key| {
            all.get(key, move |key| async move {
                count.fetch_add(1, Ordering::Relaxed);
                drop(closed.acquire().await);
                Ok::<_, ()>(key * 10)
            })
        };
        let open = async { gate.add_permits(100) };
        let (a, b, c, d, ()) = tokio::join!(get(1), get(1), get(2), get(1), open);
        assert_eq!([a, b, c, d].map(|value| *value.unwrap()), [10, 10, 20, 10]);
        assert_eq!((made.load(Ordering::Relaxed), all.len()), (2, 0));
        assert_eq!(*get(1).await.unwrap(), 10);
        assert_eq!(made.load(Ordering::Relaxed), 3, "nothing is kept");
    }

    #[tokio::test]
    async fn who_waits_goes_on_when_the_first_one_goes_or_fails() {
        let (all, gate) = (Coalesced::<u32, u32>::default(), Semaphore::new(0));
        let mut first = Box::pin(all.get(1, |_| std::future::pending::<Result<u32, ()>>()));
        let mut second = Box::pin(all.get(1, |_| async { Ok::<_, ()>(7) }));
        assert!(waits(&mut first).await && waits(&mut second).await);
        drop(first);
        assert_eq!(*second.await.unwrap(), 7);
        let failing = all.get(2, |_| async {
            drop(gate.acquire().await);
            Err::<u32, _>("failed")
        });
        let other = all.get(2, |_| async { Ok::<_, &str>(8) });
        let (failed, other, ()) = tokio::join!(failing, other, async { gate.add_permits(1) });
        assert_eq!((failed.unwrap_err(), *other.unwrap(), all.len()), ("failed", 8, 0));
    }
}
