//! What a stream has read ahead of a reader that is behind.

use std::collections::VecDeque;
use std::time::Duration;

use quoth_core::page_size::{PAGE_BYTES_MAX, PAGE_BYTES_MIN, PageSize};
use quoth_protocol::Seq;
use quoth_store::PageLimit;
use tokio::time::Instant;

use crate::engine::{Page, ReadAhead, Reading};

/// How long it is kept for a reader that takes nothing. It is read again then.
const KEPT: Duration = Duration::from_secs(1);

/// Events that a page is large enough for, of so many bytes on the average.
const EVENT_BYTES: usize = PAGE_BYTES_MIN / 256;

/// A page that is handed over in parts, and the next one when most of it has gone.
pub(super) struct Ahead {
    reads: VecDeque<ReadAhead>,
    size: PageSize,
    began: Instant,
    kept_until: Option<Instant>,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self { reads: VecDeque::new(), size: PageSize::default(), began: Instant::now(), kept_until: None }
    }

    /// How much is asked for now.
    pub(super) fn ask(&mut self) -> PageLimit {
        let bytes = self.size.ask(self.began.elapsed());
        PageLimit { records: bytes / EVENT_BYTES, bytes }
    }

    /// Behind which seq it is to be read on, and up to where the view is known to have everything, for a
    /// reader in haste that has taken most of what there is.
    pub(super) fn wants(&self) -> Option<(Seq, Option<Seq>)> {
        let last = self.reads.back()?;
        let is_more = last.in_view().is_none_or(|in_view| last.last() < in_view);
        let left_bytes = self.reads.iter().map(ReadAhead::left_bytes).sum::<usize>();
        let is_wanted = is_more && self.size.is_in_haste() && left_bytes < PAGE_BYTES_MAX / 2;
        is_wanted.then(|| (last.last(), last.in_view()))
    }

    /// Takes what was read for a reader behind `cursor`, unless its reader has been let go of meanwhile. Says
    /// whether the view has nothing behind the cursor.
    pub(super) fn push(&mut self, read: ReadAhead, cursor: Seq) -> bool {
        let behind = self.reads.back().map_or(cursor, ReadAhead::last);
        if read.after() != behind || read.is_nothing() {
            self.size.rests();
            return read.after() == cursor && read.is_nothing();
        }
        self.reads.push_back(read);
        self.is_taken();
        false
    }

    /// The next part for a reader behind `cursor`, judged now; `None` when there is none.
    pub(super) fn next(&mut self, cursor: Seq, to: Seq, at: impl Fn() -> Reading) -> Option<Page> {
        while let Some(read) = self.reads.front_mut() {
            let at = at();
            if at.may_take() {
                // That it may is new, and there is more to find out about it than what was read says.
                self.clear();
                return None;
            }
            let page = read.next(cursor, to, &at);
            if page.as_ref().is_some_and(|page| page.reached >= to) {
                // It is cut there, and read again should its reader come to read on.
                self.clear();
                return page;
            }
            if page.is_some() {
                self.is_taken();
                return page;
            }
            self.reads.pop_front();
        }
        self.kept_until = None;
        None
    }

    fn is_taken(&mut self) {
        self.kept_until = Some(Instant::now() + KEPT);
    }

    /// Lets go of all of it.
    pub(super) fn clear(&mut self) {
        self.reads.clear();
        self.kept_until = None;
        self.size.rests();
    }

    /// Until when it is kept, if there is anything.
    pub(super) const fn kept_until(&self) -> Option<Instant> {
        self.kept_until
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use quoth_core::page_size::{PAGE_BYTES_MAX, PAGE_BYTES_MIN};
    use quoth_protocol::frame::Durability;
    use quoth_protocol::{ConversationName, Seq, UserId};
    use quoth_store::testing::record;
    use quoth_store::{Content, PageLimit, Record, Store, group};
    use tokio::time::Instant;

    use super::{Ahead, KEPT};
    use crate::engine::{Access, Engine, Execution, ReadAhead, Reading, SystemClock};

    const LAST: u64 = 40;
    const PAGE: u64 = 10;
    const TO: Seq = Seq(u64::MAX);

    /// A conversation of so many messages, of which three fill a part.
    struct Room(Engine, Arc<Access>);

    impl Room {
        async fn new() -> Self {
            let store = Store::memory();
            let message = |seq| Record {
                content: Content::Message(vec![b'x'; 5_000].into()),
                ..record("room", seq, seq)
            };
            let (records, mut encoded): (Vec<_>, _) = ((1..=LAST).map(message).collect(), Vec::new());
            group::encode(&records, &mut encoded);
            let position = store.log.append(&encoded).unwrap();
            store.log.flush().unwrap();
            store.view.apply(position, &records).unwrap();
            let moment = Duration::from_micros(10);
            let execution = Execution::Tasks { flush: moment, read: moment };
            let (engine, _) = Engine::start(store, Durability::Memory, Arc::new(SystemClock), execution);
            let (name, user) = (ConversationName::new("room").unwrap(), UserId::new("ada").unwrap());
            let access = engine.access(&name, &user).await.unwrap();
            Self(engine, access)
        }

        fn at(&self) -> Reading {
            self.0.reading_of(&self.1)
        }

        async fn read(&self, after: u64) -> ReadAhead {
            let limit = PageLimit { records: 10, bytes: usize::MAX };
            self.0.reads().ahead(self.1.name(), Seq(after), (TO, None), limit, self.at()).await.unwrap()
        }
    }

    fn hurries(ahead: &mut Ahead) -> bool {
        (0..100).any(|_| ahead.ask().bytes == PAGE_BYTES_MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_pages_as_they_come_has_the_next_one_read_ahead() {
        let (room, mut ahead) = (Room::new().await, Ahead::new());
        assert_eq!(ahead.ask().bytes, PAGE_BYTES_MIN);
        assert!(!ahead.push(room.read(0).await, Seq::ZERO));
        assert_eq!(ahead.wants(), None, "it is not known to be in haste");
        assert!(hurries(&mut ahead));
        assert_eq!(ahead.wants(), Some((Seq(PAGE), None)));
        assert!(!ahead.push(room.read(PAGE).await, Seq::ZERO));
        assert_eq!(ahead.kept_until(), Some(Instant::now() + KEPT));
        let (mut cursor, mut seqs) = (Seq::ZERO, Vec::new());
        while let Some(part) = ahead.next(cursor, TO, || room.at()) {
            assert!(part.events.len() <= 3, "{:?}", part.events);
            cursor = part.reached;
            seqs.extend(part.events);
        }
        assert_eq!(seqs, (1..=2 * PAGE).map(Seq).collect::<Vec<_>>());
        assert_eq!((ahead.kept_until(), ahead.wants()), (None, None));
        assert!(!ahead.push(room.read(LAST - 1).await, Seq(LAST - 1)));
        assert!(!ahead.push(room.read(LAST).await, Seq(LAST - 1)), "there is an event behind the cursor");
        ahead.next(Seq(LAST - 1), TO, || room.at()).unwrap();
        assert!(ahead.push(room.read(LAST).await, Seq(LAST)), "that was all");
    }

    /// The read that is under way does not know of it.
    #[tokio::test(start_paused = true)]
    async fn what_does_not_follow_the_cursor_is_not_handed_over() {
        let (room, mut ahead) = (Room::new().await, Ahead::new());
        assert!(hurries(&mut ahead));
        ahead.push(room.read(0).await, Seq::ZERO);
        let part = ahead.next(Seq::ZERO, TO, || room.at()).unwrap();
        let behind = ahead.wants().unwrap().0;
        ahead.clear();
        assert_eq!(ahead.kept_until(), None);
        assert!(!ahead.push(room.read(behind.0).await, part.reached));
        assert!(ahead.next(part.reached, TO, || room.at()).is_none());
        // What is cut off by where the user may read up to is read again, should that change.
        ahead.push(room.read(0).await, Seq::ZERO);
        let part = ahead.next(Seq::ZERO, Seq(2), || room.at()).unwrap();
        assert_eq!((part.events.len(), part.reached), (2, Seq(2)));
        assert!(ahead.next(Seq(2), TO, || room.at()).is_none());
    }
}
