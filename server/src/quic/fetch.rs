//! A fetch stream: one page of history, at a low priority.

use quoth_core::authorize::{Action, authorize};
use quoth_protocol::Code;
use quoth_protocol::frame::{Fetch, FetchRange, ServerFrame};
use quoth_protocol::limits::FETCH_EVENTS_MAX;
use quoth_store::PageLimit;

use super::connection::Shared;
use super::frames::FrameWriter;

/// Below conversations, so that history does not hold up what is live.
const FETCH_PRIORITY: i32 = -10;

/// Bytes of one page, but for its last event.
const FETCH_BYTES_MAX: usize = 1024 * 1024;

/// Answers a Fetch. The error is the code to reset the stream with.
pub(super) async fn run(shared: &Shared, fetch: Fetch, writer: &mut FrameWriter) -> Result<(), Code> {
    writer.set_priority(FETCH_PRIORITY);
    let grant = shared.grant.borrow().clone();
    authorize(&grant, Action::Read, &fetch.conversation)?;
    let engine = &shared.service.engine;
    let records = usize::try_from(fetch.limit.min(FETCH_EVENTS_MAX)).unwrap_or_default();
    let limit = PageLimit { records, bytes: FETCH_BYTES_MAX };
    let page = engine.fetch(&fetch.conversation, fetch.range, limit).await.map_err(|error| {
        tracing::error!(%error, conversation = %fetch.conversation, "history cannot be read");
        Code::STORE_FAILED
    })?;
    let (head, floor) = (page.bounds.head, page.bounds.floor);
    let more = match (fetch.range, page.span) {
        (FetchRange::After(_), Some((_, last))) => last < head,
        (FetchRange::After(cursor), None) => cursor < head,
        (_, Some((first, _))) => first > floor,
        (FetchRange::Before(seq), None) => seq > floor && floor <= head,
        (FetchRange::Latest, None) => floor <= head,
    };
    writer.extend(page.frames);
    writer.push(&ServerFrame::PageEnd { head, floor, more });
    // A failed write means that the client does not want the rest.
    let _client_is_gone = writer.write_all().await;
    Ok(())
}
