//! Pages of history, each over a stream of its own.

use quoth_protocol::frame::{ClientFrame, Event, Fetch, FetchRange, ServerFrame};
use quoth_protocol::limits::FETCH_EVENTS_MAX;
use quoth_protocol::message::MessageState;
use quoth_protocol::{Action, Code, Seq};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backoff::{Backoff, FAILURES_BEFORE_TOLD};
use crate::error::HistoryError;
use crate::events::ClientEvent;
use crate::link::{Link, Session, next_session};
use crate::state::Reason;
use crate::wire::{FrameReader, FrameWriter, Incoming, StreamEnd};

/// A part of a conversation's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In ascending order of seqs: [`ClientEvent::Event`], [`ClientEvent::Unknown`] and [`ClientEvent::Gap`].
    pub events: Vec<ClientEvent>,
    /// What those of the page's messages have come to that were edited or reacted to: by all events up to
    /// `head`, and up to each one's own version where that is later.
    pub states: Vec<MessageState>,
    /// The conversation's last seq when the page was read.
    pub head: Seq,
    /// The first seq that is still readable.
    pub floor: Seq,
    /// The first seq that the page tells of, by an event or by a gap.
    pub from: Seq,
    /// The last one; `from` - 1 when the page tells of none.
    pub to: Seq,
    /// Whether there are readable seqs before `from`: go on with
    /// [`FetchRange::Before`](crate::FetchRange::Before) of it.
    pub more_before: bool,
    /// Whether there are readable seqs behind `to`: go on with
    /// [`FetchRange::After`](crate::FetchRange::After) of it.
    pub more_after: bool,
    /// The first and the last seq of what was asked for and lies before the floor, so nobody can have it; `None`:
    /// nothing. No gap of the page need tell of it, but for
    /// [`FetchRange::AfterTime`](crate::FetchRange::AfterTime): only the server knows what was of that time, so
    /// one does, and this is `None`.
    pub gone_before: Option<(Seq, Seq)>,
}

impl Page {
    /// The messages and other events that this version knows.
    pub fn known(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter_map(|e| if let ClientEvent::Event(e) = e { Some(e) } else { None })
    }

    /// Whether nothing is missing in the page: it tells of no gap, and nothing of what was asked for is gone
    /// before it. What lies beyond its ends is another page's.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gone_before.is_none()
            && !self.events.iter().any(|event| matches!(event, ClientEvent::Gap { .. }))
    }

    /// What a message of the page has come to; `None` when it is as it was published.
    #[must_use]
    pub fn state(&self, seq: Seq) -> Option<&MessageState> {
        self.states.iter().find(|state| state.seq == seq)
    }
}

/// First and last seq of what was asked for and lies before the floor. What is before a page that has more
/// before it is asked for with that.
fn gone_before(range: &FetchRange, floor: Seq, more_before: bool) -> Option<(Seq, Seq)> {
    let from = match range {
        FetchRange::After(cursor) => cursor.0.saturating_add(1),
        // The page itself tells of it, by a gap.
        FetchRange::AfterTime(_) => return None,
        _ => 1,
    };
    let end = if let FetchRange::Before(seq) = range { floor.min(*seq) } else { floor };
    (!more_before && from < end.0).then(|| (Seq(from), Seq(end.0 - 1)))
}

/// A page, over as many connections as it takes until the deadline.
pub(crate) async fn page(
    link: &mut watch::Receiver<Link>,
    fetch: &Fetch,
    deadline: Instant,
    seed: u64,
) -> Result<Page, HistoryError> {
    let mut backoff = Backoff::default();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut reason = Reason::TimedOut;
    let mut lost_epoch = None;
    let mut failures = 0;
    let timeout = deadline.saturating_duration_since(Instant::now());
    let conversation = &fetch.conversation;
    let timed_out = |reason| HistoryError::TimedOut { conversation: conversation.clone(), timeout, reason };
    loop {
        let session = match timeout_at(deadline, next_session(link, lost_epoch)).await {
            Ok(session) => session.map_err(HistoryError::Closed)?,
            Err(_) => return Err(timed_out(reason)),
        };
        match timeout_at(deadline, page_once(&session, fetch)).await {
            Ok(Ok(page)) => return Ok(page),
            Ok(Err(StreamEnd::Protocol(text))) => {
                return Err(HistoryError::Protocol { conversation: conversation.clone(), text });
            }
            Ok(Err(StreamEnd::Finished)) => {
                let text = "a page without an end".to_owned();
                return Err(HistoryError::Protocol { conversation: conversation.clone(), text });
            }
            Ok(Err(StreamEnd::Reset(code))) if code.action() != Action::Retry => {
                return Err(HistoryError::Refused { conversation: conversation.clone(), code });
            }
            Ok(Err(StreamEnd::Reset(code))) => {
                // A server that drains is about to be left, and says nothing about the next one.
                failures += u32::from(code != Code::GOING_AWAY);
                if failures == FAILURES_BEFORE_TOLD {
                    return Err(HistoryError::Failed { conversation: conversation.clone(), code });
                }
                reason = Reason::Code { code, text: String::new() };
                let delay = backoff.next_delay(&mut rng, None);
                if timeout_at(deadline, sleep(delay)).await.is_err() {
                    return Err(timed_out(reason));
                }
            }
            Ok(Err(StreamEnd::ConnectionLost(lost))) => {
                // The client itself gives a connection up when nothing comes from it.
                reason = if lost == Reason::Closed { Reason::TimedOut } else { lost };
                lost_epoch = Some(session.epoch);
            }
            Err(_) => return Err(timed_out(reason)),
        }
    }
}

/// A page over one connection. Dropping the future cancels the stream.
async fn page_once(session: &Session, fetch: &Fetch) -> Result<Page, StreamEnd> {
    let (send, recv) = session.connection.open().await.map_err(StreamEnd::ConnectionLost)?;
    let mut writer = FrameWriter::new(send);
    writer.push(&ClientFrame::Fetch(fetch.clone()));
    writer.write_all().await?;
    writer.finish();
    let mut reader = FrameReader::new(recv);
    let (mut events, mut states) = (Vec::new(), Vec::new());
    // Gaps are not counted by the limit. Between two of them is an event: those side by side are one.
    let mut count = 0;
    while count <= FETCH_EVENTS_MAX {
        match reader.next().await? {
            Incoming::Frame(ServerFrame::Event(event)) => {
                events.push(ClientEvent::Event(event));
                count += 1;
            }
            Incoming::UnknownEvent { seq, time_ms, sender } => {
                events.push(ClientEvent::Unknown { seq, time_ms, sender });
                count += 1;
            }
            Incoming::Frame(ServerFrame::Gap { from, to }) => match events.last_mut() {
                Some(ClientEvent::Gap { to: last, .. }) => *last = to,
                _ => events.push(ClientEvent::Gap { from, to }),
            },
            // At most one for each event.
            Incoming::Frame(ServerFrame::MessageState(state)) if states.len() < events.len() => {
                states.push(state)
            }
            Incoming::Frame(ServerFrame::PageEnd { head, floor, from, to, more_before, more_after }) => {
                let gone_before = gone_before(&fetch.range, floor, more_before);
                return Ok(Page {
                    events,
                    states,
                    head,
                    floor,
                    from,
                    to,
                    more_before,
                    more_after,
                    gone_before,
                });
            }
            Incoming::Frame(other) => {
                reader.stop(Code::PROTOCOL);
                return Err(StreamEnd::Protocol(format!("{other:?} has no place in a page")));
            }
        }
    }
    reader.stop(Code::PROTOCOL);
    Err(StreamEnd::Protocol(format!("a page of over {FETCH_EVENTS_MAX} events")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_as_far_as_it_was_asked_for() {
        let gone =
            |range, more_before| gone_before(&range, Seq(11), more_before).map(|(from, to)| (from.0, to.0));
        assert_eq!(gone(FetchRange::After(Seq(0)), false), Some((1, 10)));
        assert_eq!(gone(FetchRange::After(Seq(5)), false), Some((6, 10)));
        assert_eq!(gone(FetchRange::After(Seq(10)), false), None);
        assert_eq!(gone(FetchRange::After(Seq(u64::MAX)), false), None);
        assert_eq!(gone(FetchRange::Before(Seq(5)), false), Some((1, 4)));
        for range in [
            FetchRange::Before(Seq(16)),
            FetchRange::Around(Seq(12)),
            FetchRange::BeforeTime(9),
            FetchRange::Latest,
        ] {
            assert_eq!(gone(range, false), Some((1, 10)), "{range:?}");
            assert_eq!(gone(range, true), None, "there is more before");
        }
        assert_eq!(gone(FetchRange::AfterTime(1), false), None, "a gap tells of it");
        assert_eq!(gone_before(&FetchRange::After(Seq(0)), Seq(1), false), None, "nothing is gone");
    }

    #[test]
    fn a_page_is_complete_that_tells_of_all_that_was_asked_for() {
        let sender = quoth_protocol::UserId::new("alice").unwrap();
        let event = ClientEvent::Unknown { seq: Seq(1), time_ms: 0, sender };
        let (states, head, floor, from, to) = (Vec::new(), Seq(9), Seq(1), Seq(1), Seq(1));
        let (more_before, more_after, gone_before) = (false, true, None);
        let mut page =
            Page { events: vec![event], states, head, floor, from, to, more_before, more_after, gone_before };
        assert!(page.is_complete(), "what follows is another page's");
        page.gone_before = Some((Seq(1), Seq(2)));
        assert!(!page.is_complete());
        page.gone_before = None;
        page.events.push(ClientEvent::Gap { from: Seq(2), to: Seq(3) });
        assert!(!page.is_complete());
    }
}
