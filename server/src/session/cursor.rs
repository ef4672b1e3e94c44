//! Where a stream's reader stands, and its reads from the view.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quoth_core::page_size::PAGE_BYTES_MIN;
use quoth_protocol::frame::Start;
use quoth_protocol::limits::START_LAST_MAX;
use quoth_protocol::{Code, Seq};
use quoth_store::{Bounds, PageLimit, ViewError};

use crate::engine::{Access, Engine, Greeting, Page, Publisher, ReadAhead, RosterWatch, Subscription};

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
    /// What is behind a seq.
    Page(Seq, Page),
    Ahead(ReadAhead),
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
        (cursor, last): (Seq, Seq),
        in_view: Option<Seq>,
        limit: PageLimit,
    ) -> Self {
        let (reads, at, name) = (engine.reads().clone(), engine.reading_of(access), access.name().clone());
        Self(Box::pin(async move {
            // What marks take is found out by a look into the view, which cannot be had when a part is handed
            // over.
            if !at.may_take() {
                return reads.ahead(&name, cursor, (last, in_view), limit, at).await.map(ReadResult::Ahead);
            }
            let limit = PageLimit { bytes: PAGE_BYTES_MIN, ..limit };
            let page = match in_view {
                Some(to) => reads.page(&name, cursor, to.min(last), limit, at).await,
                None => reads.after(&name, cursor, last, limit, at).await,
            };
            page.map(|page| ReadResult::Page(cursor, page))
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
    use quoth_protocol::frame::Start;
    use quoth_protocol::limits::START_LAST_MAX;
    use quoth_protocol::{Code, Seq};

    use super::{CursorState, start};

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
