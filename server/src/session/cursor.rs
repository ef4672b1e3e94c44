//! Where a stream's reader stands, and its reads from the view.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quoth_protocol::frame::Start;
use quoth_protocol::limits::START_LAST_MAX;
use quoth_protocol::{Code, Seq};
use quoth_store::{Bounds, PageLimit, ViewError};

use crate::engine::{Access, Engine, Greeting, Page, PageParts, Publisher, RosterWatch, Subscription};

/// What a reader that is behind reads from the view at once: of the next page nothing before all of one has
/// gone to the writer. Thousands may come back at once, and each may stand still.
const VIEW_PAGE: PageLimit = PageLimit { records: 256, bytes: 64 * 1024 };

/// The stream's reader.
pub(super) struct Cursor {
    pub(super) state: CursorState,
    /// Held while there is a reader, from before its first read on, so that no event goes unnoticed.
    pub(super) subscription: Option<Subscription>,
    /// Whether a wake-up has come since the last read from the view began, which may have missed what it is
    /// about.
    pub(super) woken: bool,
    /// Who else reads, if the client wants to know.
    pub(super) roster: Option<RosterWatch>,
    /// The last event that the client can know of.
    pub(super) known: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorState {
    /// Nothing is delivered.
    Off,
    /// A start is being resolved.
    Starts(Option<Start>),
    /// The last event that was handed to the writer.
    At(Seq),
    /// The view had nothing behind this seq, and no wake-up has come since.
    AtEndOfView(Seq),
}

/// A read from the view.
pub(super) struct StoreRead(Pin<Box<dyn Future<Output = Result<ReadResult, ViewError>> + Send>>);

pub(super) enum ReadResult {
    Bounds(Bounds),
    Page(Page),
    Parts(PageParts),
}

impl StoreRead {
    /// Of a stream that begins, or whose cursor is moved.
    pub(super) fn enter(
        engine: &Engine,
        publisher: &Arc<Publisher>,
        publishes: bool,
        greeting: Greeting,
    ) -> Self {
        let (engine, publisher) = (engine.clone(), Arc::clone(publisher));
        Self(Box::pin(
            async move { engine.enter(&publisher, publishes, greeting).await.map(ReadResult::Bounds) },
        ))
    }

    /// What is behind a cursor, up to and including `last`; where it is known up to where the view has it,
    /// not beyond that.
    pub(super) fn page(
        engine: &Engine,
        access: &Arc<Access>,
        cursor: Seq,
        last: Seq,
        in_view: Option<Seq>,
    ) -> Self {
        let (reads, at, name) = (engine.reads().clone(), engine.reading_of(access), access.name().clone());
        Self(Box::pin(async move {
            // What marks take is found out by a look into the view, which cannot be had when a part goes.
            if !at.may_take() {
                return reads.parts(&name, cursor, last, in_view, VIEW_PAGE, at).await.map(ReadResult::Parts);
            }
            let page = match in_view {
                Some(to) => reads.page(&name, cursor, to.min(last), VIEW_PAGE, at).await,
                None => reads.after(&name, cursor, last, VIEW_PAGE, at).await,
            };
            page.map(ReadResult::Page)
        }))
    }
}

impl Cursor {
    /// Whether a start is being resolved. No frame is taken meanwhile, so a stream reads one thing at a time
    /// from the view.
    pub(super) fn starts(&self) -> bool {
        matches!(self.state, CursorState::Starts(_))
    }

    /// The last event that the client can know of.
    pub(super) fn known(&self) -> Seq {
        match self.state {
            CursorState::At(cursor) | CursorState::AtEndOfView(cursor) => self.known.max(cursor),
            CursorState::Off | CursorState::Starts(_) => self.known,
        }
    }

    pub(super) fn wake(&mut self) {
        self.woken = true;
        if let CursorState::AtEndOfView(cursor) = self.state {
            self.state = CursorState::At(cursor);
        }
    }
}

/// Where a start lies.
pub(super) fn start(from: Option<Start>, head: Seq, floor: Seq) -> Result<CursorState, Code> {
    let before_floor = floor.0.saturating_sub(1);
    match from {
        None => Ok(CursorState::Off),
        Some(Start::After(cursor)) if cursor > head => Err(Code::CURSOR_AHEAD),
        Some(Start::After(cursor)) => Ok(CursorState::At(cursor)),
        Some(Start::Last(count)) => {
            let cursor = head.0.saturating_sub(count.min(START_LAST_MAX).into());
            Ok(CursorState::At(Seq(cursor.max(before_floor.min(head.0)))))
        }
        Some(Start::Live) => Ok(CursorState::At(head)),
    }
}

pub(super) async fn load(read: &mut Option<StoreRead>) -> Result<ReadResult, ViewError> {
    match read {
        Some(StoreRead(future)) => future.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use quoth_protocol::frame::{Durability, Start};
    use quoth_protocol::limits::START_LAST_MAX;
    use quoth_protocol::retention::Retention;
    use quoth_protocol::{Code, ConversationName, Seq, UserId};
    use quoth_store::testing::record;
    use quoth_store::{Content, Record, Store, group};

    use super::{CursorState, ReadResult, StoreRead, load, start};
    use crate::engine::{Caller, Engine, Execution, Retain, SystemClock};

    const TO: Seq = Seq(u64::MAX);

    /// How many events a reader gets of a page, of a conversation of so large ones.
    async fn events_of_a_page(body_bytes: usize, in_view: Option<Seq>, marks_take: bool) -> usize {
        let (store, name) = (Store::memory(), ConversationName::new("room").unwrap());
        let content = Content::Message(vec![b'x'; body_bytes].into());
        let message = |seq| Record { content: content.clone(), ..record("room", seq, seq) };
        let (records, mut encoded): (Vec<_>, _) = ((1..=300).map(message).collect(), Vec::new());
        group::encode(&records, &mut encoded);
        let position = store.log.append(&encoded).unwrap();
        store.log.flush().unwrap();
        store.view.apply(position, &records).unwrap();
        let moment = Duration::from_micros(10);
        let execution = Execution::Tasks { flush: moment, read: moment };
        let (engine, _stopper) = Engine::start(store, Durability::Memory, Arc::new(SystemClock), execution);
        if marks_take {
            let count = Retention { count: 10_000, ..Retention::FOR_EVER };
            let operator = Caller::Operator(UserId::new("ops").unwrap());
            engine.retain(operator, &name, Retain::Policy(count)).await.unwrap();
        }
        let access = engine.access(&name, &UserId::new("ada").unwrap()).await.unwrap();
        let read = StoreRead::page(&engine, &access, Seq::ZERO, TO, in_view);
        let mut parts = match load(&mut Some(read)).await.unwrap() {
            ReadResult::Parts(parts) if !marks_take => parts,
            ReadResult::Page(page) if marks_take => return page.events.len(),
            _ => panic!("whether marks take any says how a page goes"),
        };
        let (mut cursor, mut count) = (Seq::ZERO, 0);
        while let Some(part) = parts.next(cursor, TO, &engine.reading_of(&access)) {
            (cursor, count) = (part.reached, count + part.events.len());
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_behind_gets_so_much_at_once() {
        for marks_take in [false, true] {
            for in_view in [None, Some(Seq(300))] {
                let count = async |body_bytes| events_of_a_page(body_bytes, in_view, marks_take).await;
                assert_eq!(count(10).await, 256);
                assert_eq!(count(512).await, 65_536 / 512);
                assert_eq!(count(513).await, 65_536 / 513);
            }
        }
    }

    #[test]
    fn reading_starts_with_so_many_events_at_most() {
        let starts = |from, head, floor| start(Some(from), Seq(head), Seq(floor));
        let (most, head) = (START_LAST_MAX, 3 * u64::from(START_LAST_MAX));
        let first = Ok(CursorState::At(Seq(head - u64::from(most))));
        assert_eq!(starts(Start::Last(most), head, 1), first);
        assert_eq!(starts(Start::Last(u32::MAX), head, 1), first);
        assert_eq!(starts(Start::Last(5), 3, 1), Ok(CursorState::At(Seq::ZERO)));
        assert_eq!(starts(Start::Last(5), 10, 8), Ok(CursorState::At(Seq(7))), "from the floor on");
        assert_eq!(starts(Start::After(Seq(11)), 10, 1), Err(Code::CURSOR_AHEAD));
    }
}
