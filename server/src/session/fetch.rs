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
    let keeping = || access.keeping(engine.now_ms());
    let Bounds { floor, head } = engine.applied_bounds(conversation, keeping()).await?;
    let head = head.min(reaches()?);
    let bounds = Bounds { floor: floor.min(head.next()), head };
    let page = Page::of(fetch.range, fetch.limit, bounds).ok_or(Failure::Denied(Code::INVALID_REQUEST))?;
    let mut cursor = page.after;
    while cursor < page.last {
        let records = usize::try_from(page.last.0 - cursor.0).unwrap_or(usize::MAX);
        let limit = PageLimit { records, bytes: PIECE_BYTES_MAX };
        let at = engine.reading(conversation, keeping());
        let piece = engine.reads().after(conversation, cursor, page.last, limit, at).await?;
        cursor = piece.reached;
        if reaches()? < cursor {
            return Err(Failure::Denied(Code::FORBIDDEN));
        }
        writer.extend(piece.frames);
        writer.write_all().await?;
    }
    writer.push(&page.end(bounds));
    writer.write_all().await?;
    Ok(())
}

/// Which events a page has: those behind `after` up to `last`, which is `after` when there are none. Both are readable, or beside
/// what is.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    after: Seq,
    last: Seq,
}

impl Page {
    /// `None` for a range that this server does not serve.
    fn of(range: FetchRange, limit: u32, bounds: Bounds) -> Option<Self> {
        let limit = u64::from(limit.min(FETCH_EVENTS_MAX));
        let (before_floor, head) = (before_floor(bounds), bounds.head.0);
        let before = match range {
            FetchRange::After(cursor) => {
                let after = cursor.0.clamp(before_floor, head);
                return Some(Self { after: Seq(after), last: Seq(after.saturating_add(limit).min(head)) });
            }
            FetchRange::Before(seq) => seq.0,
            FetchRange::Latest => u64::MAX,
            FetchRange::Around(_)
            | FetchRange::AfterTime(_)
            | FetchRange::BeforeTime(_)
            | FetchRange::AroundTime(_) => return None,
        };
        let last = before.saturating_sub(1).clamp(before_floor, head);
        let after = last.saturating_sub(limit).max(before_floor);
        Some(Self { after: Seq(after), last: Seq(last) })
    }

    fn end(&self, bounds: Bounds) -> ServerFrame {
        ServerFrame::PageEnd {
            head: bounds.head,
            floor: bounds.floor,
            from: self.after.next(),
            to: self.last,
            more_before: self.after.0 > before_floor(bounds),
            more_after: self.last < bounds.head,
        }
    }
}

/// The last seq that cannot be read, or the head where nothing can.
fn before_floor(Bounds { floor, head }: Bounds) -> u64 {
    floor.0.saturating_sub(1).min(head.0)
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;
    use quoth_protocol::frame::{FetchRange, ServerFrame};
    use quoth_store::Bounds;

    use super::Page;

    /// The first and the last seq of a page, and whether there are more before and behind.
    fn page(range: FetchRange, limit: u32, floor: u64, head: u64) -> (u64, u64, bool, bool) {
        let bounds = Bounds { floor: Seq(floor), head: Seq(head) };
        let end = Page::of(range, limit, bounds).unwrap().end(bounds);
        let ServerFrame::PageEnd { from, to, more_before, more_after, .. } = end else { panic!("{end:?}") };
        assert!(from.0 >= floor && to.0 <= head && from <= to.next(), "only what is readable");
        (from.0, to.0, more_before, more_after)
    }

    #[test]
    fn after_goes_on_to_the_head() {
        let after = |seq| FetchRange::After(Seq(seq));
        assert_eq!(page(after(0), 3, 1, 10), (1, 3, false, true));
        assert_eq!(page(after(3), 7, 1, 10), (4, 10, true, false));
        assert_eq!(page(after(0), 3, 5, 10), (5, 7, false, true), "from the floor on");
        assert_eq!(page(after(0), 5_000, 1, 2_000), (1, 1_000, false, true));
        assert_eq!(page(after(3), 0, 1, 10), (4, 3, true, true));
        for seq in [10, 11, u64::MAX] {
            assert_eq!(page(after(seq), 5, 1, 10), (11, 10, true, false), "behind the head");
        }
        assert_eq!(page(after(0), 5, 1, 0), (1, 0, false, false), "nothing was ever there");
        assert_eq!(page(after(3), 5, 11, 10), (11, 10, false, false), "nothing can be read");
    }

    #[test]
    fn before_and_latest_go_back_to_the_floor() {
        let before = |seq| FetchRange::Before(Seq(seq));
        assert_eq!(page(FetchRange::Latest, 3, 1, 10), (8, 10, true, false));
        assert_eq!(page(FetchRange::Latest, 10, 1, 10), (1, 10, false, false));
        assert_eq!(page(FetchRange::Latest, 10, 5, 10), (5, 10, false, false));
        assert_eq!(page(FetchRange::Latest, 0, 1, 10), (11, 10, true, false));
        assert_eq!(page(before(8), 3, 1, 10), (5, 7, true, true));
        assert_eq!(page(before(4), 3, 1, 10), (1, 3, false, true));
        assert_eq!(page(before(u64::MAX), 2, 1, 10), (9, 10, true, false));
        for (seq, floor) in [(1, 1), (0, 1), (5, 5), (3, 5)] {
            assert_eq!(page(before(seq), 5, floor, 10), (floor, floor - 1, false, true), "before the floor");
        }
        assert_eq!(page(before(9), 5, 1, 0), (1, 0, false, false));
        for range in [before(3), FetchRange::Latest] {
            assert_eq!(page(range, 5, 11, 10), (11, 10, false, false), "nothing can be read");
        }
    }
}
