//! A fetch stream: one page of history, at a low priority, read as the client takes it.

use std::sync::Arc;
use std::time::Duration;

use quoth_core::authorize::{Action, Reach};
use quoth_core::history::Span;
use quoth_core::membership::Actor;
use quoth_protocol::frame::{Fetch, FetchRange, ServerFrame, feature};
use quoth_protocol::limits::{FETCH_EVENTS_MAX, FETCH_STALL_TIMEOUT_MS};
use quoth_protocol::{Code, Seq};
use quoth_store::{Bounds, PageLimit, ViewError};

use super::connection::Shared;
use super::frames::{FrameWriter, WriteFailure};

/// Below conversations, so that history does not hold up what is live.
const FETCH_PRIORITY: i32 = -10;

/// Bytes that are read at once, but for the last event. With
/// [`FETCHES_AT_ONCE_MAX`](quoth_protocol::limits::FETCHES_AT_ONCE_MAX) the bound of what pages that nobody
/// takes cost.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Answers a Fetch when its turn has come. The error is the code to reset the stream with.
pub(super) async fn run(shared: &Shared, fetch: Fetch, writer: &mut FrameWriter) -> Result<(), Code> {
    let _turn = shared.fetches.acquire().await.map_err(|_never_closed| Code::INTERNAL)?;
    writer.set_priority(FETCH_PRIORITY);
    writer.set_stall_timeout(Duration::from_millis(FETCH_STALL_TIMEOUT_MS), 0);
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
        let reach = standing.allows(actor, Action::ReadHistory, engine.judged_ms());
        reach.map(Reach::last).map_err(|refusal| Failure::Denied(refusal.code))
    };
    reaches()?;
    let keeping = access.keeping(engine.judged_ms());
    let Bounds { floor, head } = engine.applied_bounds(conversation, keeping).await?;
    let head = head.min(reaches()?);
    let bounds = Bounds { floor: floor.min(head.next()), head };
    let anchor = engine.reads().anchor(conversation, fetch.range, bounds).await?;
    let limit = u64::from(fetch.limit.min(FETCH_EVENTS_MAX));
    let mut page = Span::of(anchor, limit, bounds.floor, bounds.head);
    let mut gone = None;
    if let (FetchRange::AfterTime(time_ms), false) = (fetch.range, page.more_before) {
        gone = engine.reads().gone_of_time(conversation, time_ms, bounds.floor, keeping).await?;
        gone.iter().for_each(|(from, to)| writer.push(&ServerFrame::Gap { from: *from, to: *to }));
    }
    let (mut cursor, mut events) = (page.after, Vec::new());
    let mut is_widened = false;
    while cursor < page.last {
        let records = usize::try_from(page.last.0 - cursor.0).unwrap_or(usize::MAX);
        let piece_limit = PageLimit { records, bytes: PIECE_BYTES_MAX };
        let at = engine.reading_of(&access);
        let piece = engine.reads().page(conversation, cursor, page.last, piece_limit, at.clone()).await?;
        if !is_widened && cursor == page.after && piece.events.is_empty() && piece.reached == page.last {
            page = engine.reads().widened(conversation, anchor, page, limit, bounds, at).await?;
            (cursor, is_widened) = (page.after, true);
            continue;
        }
        cursor = piece.reached;
        if reaches()? < cursor {
            return Err(Failure::Denied(Code::FORBIDDEN));
        }
        events.extend(piece.events);
        writer.extend(piece.chunks);
        writer.write_all().await?;
    }
    if shared.features & feature::MESSAGES != 0 {
        let (events, at) = (Arc::from(events), engine.reading_of(&access));
        let mut behind = Some(Seq::ZERO);
        while let Some(after) = behind {
            let states = engine.states_of_page(conversation, &at, &user, &events, after, reaches()?).await?;
            states.0.into_iter().for_each(|state| writer.push(&ServerFrame::MessageState(state)));
            writer.write_all().await?;
            behind = states.1;
        }
    }
    writer.push(&ServerFrame::PageEnd {
        head: bounds.head,
        floor: bounds.floor,
        from: gone.map_or_else(|| page.after.next(), |(from, _)| from),
        to: page.last,
        more_before: page.more_before,
        more_after: page.last < bounds.head,
    });
    writer.write_all().await?;
    Ok(())
}
