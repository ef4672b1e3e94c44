//! Who may ask at once: so many questions of all, and a share of them of each user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quoth_protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a user has of all places, as a part of them: so a backend is asked about others in their turn however
/// much one of them says.
const PART_OF_EACH: usize = 4;

const NEVER_CLOSED: &str = "nobody closes it";

/// Places for questions. They are given in the order in which they are asked for, but for who has a share
/// already.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_each: usize,
    /// Of users who ask or wait: what is left of each one's share, and how many are there.
    users: Mutex<HashMap<UserId, (Arc<Semaphore>, usize)>>,
}

/// A place for a question about a user, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _among_all: OwnedSemaphorePermit,
    _of_user: OwnedSemaphorePermit,
    entry: Entry,
}

/// One who asks or waits.
#[derive(Debug)]
struct Entry {
    places: Arc<Places>,
    user: UserId,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let of_each = (max / PART_OF_EACH).max(1);
        Arc::new(Self { all: Arc::new(Semaphore::new(max)), of_each, users: Mutex::default() })
    }

    /// A place, once there is one for this user. Whoever waits for one of the user's share has none among
    /// all.
    pub(super) async fn take(self: &Arc<Self>, user: &UserId) -> Place {
        let share = {
            let mut users = self.users.lock();
            let (share, count) =
                users.entry(user.clone()).or_insert_with(|| (Arc::new(Semaphore::new(self.of_each)), 0));
            *count += 1;
            Arc::clone(share)
        };
        let entry = Entry { places: Arc::clone(self), user: user.clone() };
        let of_user = share.acquire_owned().await.expect(NEVER_CLOSED);
        let among_all = Arc::clone(&self.all).acquire_owned().await.expect(NEVER_CLOSED);
        Place { _among_all: among_all, _of_user: of_user, entry }
    }
}

impl Place {
    /// Who asks.
    pub(super) fn user(&self) -> &UserId {
        &self.entry.user
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut users = self.places.users.lock();
        if let Some((_, count)) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use quoth_protocol::UserId;

    use super::{Place, Places};

    /// A place, if there is one at once.
    fn take(places: &Arc<Places>, user: &UserId) -> Option<Place> {
        places.take(user).now_or_never()
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[tokio::test]
    async fn each_user_has_a_share_and_the_others_have_the_rest() {
        let places = Places::new(8);
        let (alice, bob) = (user("alice"), user("bob"));
        let of_alice: Vec<_> = (0..2).map(|_| take(&places, &alice).expect("her share")).collect();
        assert!(take(&places, &alice).is_none());
        let mut waits = Box::pin(places.take(&alice));
        assert!((&mut waits).now_or_never().is_none());
        let of_others: Vec<_> =
            (0..6).map(|n| take(&places, &user(&format!("u{n}"))).expect("there is room")).collect();
        assert!(take(&places, &bob).is_none(), "eight ask");
        drop(of_others);
        let of_bob = take(&places, &bob).expect("there is room again");
        drop(of_alice);
        drop(waits.await);
        drop(of_bob);
        assert!(places.users.lock().is_empty(), "who asks nothing is forgotten");
        assert_eq!(Places::new(1).of_each, 1);
    }
}
