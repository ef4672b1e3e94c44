//! A fetch stream: one page of history, at a low priority, read as the client takes it.

use std::time::Duration;

use quoth_core::authorize::{Action, Reach};
use quoth_core::membership::Actor;
use quoth_protocol::frame::{Fetch, FetchRange, ServerFrame};
use quoth_protocol::limits::{FETCH_EVENTS_MAX, FETCH_STALL_TIMEOUT_MS};
use quoth_protocol::{Code, Seq};
use quoth_store::{Bounds, PageLimit, ViewError};

use super::connection::Shared;
use super::frames::{FrameWriter, WriteFailure};

/// Below conversations, so that history does not hold up what is live.
const FETCH_PRIORITY: i32 = -10;

/// Bytes that are read at once, but for the last event. With [`FETCHES_AT_ONCE_MAX`](quoth_protocol::limits::FETCHES_AT_ONCE_MAX) the
/// bound of what pages that nobody takes cost.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Answers a Fetch when its turn has come. The error is the code to reset the stream with.
pub(super) async fn run(shared: &Shared, fetch: Fetch, writer: &mut FrameWriter) -> Result<(), Code> {
    let _turn = shared.fetches.acquire().await.map_err(|_never_closed| Code::INTERNAL)?;
    writer.set_priority(FETCH_PRIORITY);
    writer.set_stall_timeout(Duration::from_millis(FETCH_STALL_TIMEOUT_MS));
    match send(shared, &fetch, writer).await {
        // A page that is not wanted any more is no failure.
        Ok(()) | Err(Failure::Write(WriteFailure::Gone)) => Ok(()),
        Err(Failure::Write(WriteFailure::Stalled)) => Err(Code::OVERLOADED),
        Err(Failure::Denied(code)) => Err(code),
        Err(Failure::View(error)) => {
            tracing::error!(%error, conversation = %fetch.conversation, "history cannot be read");
            Err(Code::STORE_FAILED)
        }
    }
}

enum Failure {
    /// Before the page, or later by a token with fewer rights.
    Denied(Code),
    View(ViewError),
    Write(WriteFailure),
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        Self::View(error)
    }
}

impl From<WriteFailure> for Failure {
    fn from(failure: WriteFailure) -> Self {
        Self::Write(failure)
    }
}

async fn send(shared: &Shared, fetch: &Fetch, writer: &mut FrameWriter) -> Result<(), Failure> {
    let engine = &shared.service.engine;
    let user = shared.grant.borrow().user.clone();
    let access = engine.access(&fetch.conversation, &user).await?;
    let conversation = access.name();
    let reaches = || {
        let grant = shared.grant.borrow().clone();
        let actor = Actor::User(&grant);
        let standing = access.stand(actor).standing;
        let reach = standing.allows(actor, Action::ReadHistory, engine.now_ms());
        reach.map(Reach::last).map_err(|refusal| Failure::Denied(refusal.code))
    };
    reaches()?;
    let Bounds { floor, head } = engine.applied_bounds(conversation).await?;
    let head = head.min(reaches()?);
    let bounds = Bounds { floor: floor.min(head.next()), head };
    let page = Page::of(fetch.range, fetch.limit, bounds);
    let mut cursor = page.after;
    while cursor < page.last {
        let records = usize::try_from(page.last.0 - cursor.0).unwrap_or(usize::MAX);
        let limit = PageLimit { records, bytes: PIECE_BYTES_MAX };
        let piece = engine.reads().after(conversation, cursor, page.last, limit).await?;
        cursor = piece.reached;
        if reaches()? < cursor {
            return Err(Failure::Denied(Code::FORBIDDEN));
        }
        writer.extend(piece.frames);
        writer.write_all().await?;
    }
    writer.push(&ServerFrame::PageEnd { head: bounds.head, floor: bounds.floor, more: page.more });
    writer.write_all().await?;
    Ok(())
}

/// Which events a page has.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// They begin behind this one.
    after: Seq,
    /// The last one; there are none when it is not behind `after`.
    last: Seq,
    /// Whether there are further readable events in the page's direction.
    more: bool,
}

impl Page {
    fn of(range: FetchRange, limit: u32, bounds: Bounds) -> Self {
        let limit = u64::from(limit.min(FETCH_EVENTS_MAX));
        let head = bounds.head.0;
        let before_floor = bounds.floor.0.saturating_sub(1).min(head);
        let before = match range {
            FetchRange::After(cursor) => {
                let after = cursor.0.max(before_floor);
                let last = after.saturating_add(limit).min(head);
                return Self { after: Seq(after), last: Seq(last), more: after.max(last) < head };
            }
            FetchRange::Before(seq) => seq.0,
            FetchRange::Latest => u64::MAX,
        };
        let last = before.saturating_sub(1).min(head);
        let after = last.saturating_sub(limit).max(before_floor);
        Self { after: Seq(after), last: Seq(last), more: after > before_floor }
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;
    use quoth_protocol::frame::FetchRange;
    use quoth_store::Bounds;

    use super::Page;

    fn page(range: FetchRange, limit: u32, floor: u64, head: u64) -> (u64, u64, bool) {
        let Page { after, last, more } =
            Page::of(range, limit, Bounds { floor: Seq(floor), head: Seq(head) });
        assert!(after >= last || after.0 + 1 >= floor && last.0 <= head, "only what is readable");
        (after.0, last.0, more)
    }

    fn is_empty((after, last, _): (u64, u64, bool)) -> bool {
        after >= last
    }

    #[test]
    fn after_goes_on_to_the_head() {
        let after = |seq| FetchRange::After(Seq(seq));
        assert_eq!(page(after(0), 3, 1, 10), (0, 3, true));
        assert_eq!(page(after(3), 7, 1, 10), (3, 10, false));
        assert_eq!(page(after(0), 3, 5, 10), (4, 7, true), "from the floor on");
        assert_eq!(page(after(0), 5_000, 1, 2_000), (0, 1_000, true));
        assert_eq!(page(after(3), 0, 1, 10), (3, 3, true));
        for (seq, floor, head) in [(10, 1, 10), (11, 1, 10), (u64::MAX, 1, 10), (0, 1, 0), (3, 11, 10)] {
            assert!(is_empty(page(after(seq), 5, floor, head)) && !page(after(seq), 5, floor, head).2);
        }
    }

    #[test]
    fn before_and_latest_go_back_to_the_floor() {
        let before = |seq| FetchRange::Before(Seq(seq));
        assert_eq!(page(FetchRange::Latest, 3, 1, 10), (7, 10, true));
        assert_eq!(page(FetchRange::Latest, 10, 1, 10), (0, 10, false));
        assert_eq!(page(FetchRange::Latest, 10, 5, 10), (4, 10, false));
        assert_eq!(page(FetchRange::Latest, 0, 1, 10), (10, 10, true));
        assert_eq!(page(before(8), 3, 1, 10), (4, 7, true));
        assert_eq!(page(before(4), 3, 1, 10), (0, 3, false));
        assert_eq!(page(before(u64::MAX), 2, 1, 10), (8, 10, true));
        for (seq, floor, head) in [(1, 1, 10), (0, 1, 10), (5, 5, 10), (3, 5, 10), (9, 1, 0), (3, 11, 10)] {
            assert!(is_empty(page(before(seq), 5, floor, head)) && !page(before(seq), 5, floor, head).2);
        }
        assert!(is_empty(page(FetchRange::Latest, 5, 11, 10)) && !page(FetchRange::Latest, 5, 11, 10).2);
    }
}
