//! That what was handed out has been received: told to the server by itself, and not often. Pure but for the
//! request under way.

use std::sync::Arc;
use std::time::Duration;

use quoth_protocol::frame::feature;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, Seq};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use crate::link::{Outgoing, SignedIn};

/// How long what was received waits, so that a run of messages is one mark.
const MARK_INTERVAL: Duration = Duration::from_secs(2);

/// Marks of a client that may be under way at once. Each takes the server about a second, and one of the 16
/// requests that it takes at once: the application's own must not wait for them. Outcome: a mark is said an
/// interval later.
pub(crate) const MARKS_UNDER_WAY_MAX: usize = 2;

/// What a conversation's task has said and is to say.
#[derive(Debug)]
pub(crate) struct Marks {
    permits: Arc<Semaphore>,
    /// Nothing is to be said: the application does not want it, or the server has refused it for the present
    /// reader.
    is_off: bool,
    /// It stays so for later readers.
    is_unwanted: bool,
    /// The server has stored up to here.
    marked: Seq,
    /// Something was received that is not marked.
    due: Option<Instant>,
    /// Up to here a reader that has ended took everything, and could not say so yet for want of a turn.
    ended: Option<Seq>,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    seq: Seq,
    answer: oneshot::Receiver<Reply>,
    _permit: OwnedSemaphorePermit,
}

impl Marks {
    /// With the client's permits; `wanted`: whether anything is to be said at all.
    pub(crate) fn new(conversation: &ConversationName, permits: Arc<Semaphore>, wanted: bool) -> Self {
        // Of a user's own log there are no receipts.
        let is_unwanted = !wanted || conversation.as_str().starts_with('$');
        let (due, ended, under_way) = (None, None, None);
        Self { permits, is_off: is_unwanted, is_unwanted, marked: Seq::ZERO, due, ended, under_way }
    }

    /// A new reader: what another one was refused, this one may be allowed.
    pub(crate) fn begin(&mut self) {
        self.is_off = self.is_unwanted;
        if self.ended.is_none() {
            self.due = None;
        }
    }

    /// Whether it wants to hear of the next message of somebody else.
    pub(crate) fn is_curious(&self) -> bool {
        !self.is_off && self.due.is_none()
    }

    /// A message of somebody else is on its way to the application.
    pub(crate) fn received(&mut self, seq: Seq, now: Instant) {
        if self.is_curious() && seq > self.marked {
            self.due = Some(now + MARK_INTERVAL);
        }
    }

    /// When to call [`Marks::mark`].
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Says that the application has taken everything up to this event, if that is due and new; `has_more`:
    /// it will take more. Without a reader, what the last one has taken.
    pub(crate) fn mark(
        &mut self,
        conversation: &ConversationName,
        reader: Option<(Seq, bool)>,
        session: Option<&SignedIn>,
        now: Instant,
    ) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let ended = self.ended.map(|taken| (taken, false));
        match reader.into_iter().chain(ended).reduce(|(a, more), (b, _)| (a.max(b), more)) {
            Some(taken) => self.say(conversation, taken, session, now),
            None => self.due = None,
        }
    }

    /// The same for the last time, whether or not it is due. What has no turn yet has it behind what is under
    /// way.
    pub(crate) fn end(&mut self, conversation: &ConversationName, taken: Seq, session: Option<&SignedIn>) {
        if self.due.is_some() {
            let taken = self.ended.map_or(taken, |ended| ended.max(taken));
            self.ended = Some(taken);
            self.say(conversation, (taken, false), session, Instant::now());
        }
    }

    /// Whether the last mark waits for the answer to the one before.
    pub(crate) fn waits(&self) -> bool {
        self.ended.is_some() && self.under_way.is_some()
    }

    /// The server has another store, of whose events nothing was received.
    pub(crate) fn forget(&mut self) {
        (self.marked, self.due, self.ended) = (Seq::ZERO, None, None);
    }

    /// The answer of the server; waits for ever when none is awaited. Cancel-safe.
    pub(crate) async fn answered(&mut self) {
        let Some(UnderWay { seq, answer, .. }) = &mut self.under_way else {
            return std::future::pending().await;
        };
        match answer.await {
            Ok(Reply::Done { .. }) => self.marked = self.marked.max(*seq),
            // Who reads may lack the right to say so, and a server that has too much to do is not to be asked
            // again.
            Ok(_) => self.turn_off(),
            // The connection is lost. With the next message it is said again.
            Err(_) => self.ended = None,
        }
        self.under_way = None;
        if self.ended.is_some() {
            self.due = Some(Instant::now());
        }
    }

    fn say(
        &mut self,
        conversation: &ConversationName,
        (taken, has_more): (Seq, bool),
        session: Option<&SignedIn>,
        now: Instant,
    ) {
        if session.is_some_and(|session| session.welcome.features & feature::MESSAGES == 0) {
            return self.turn_off();
        }
        let is_said = taken <= self.marked || self.begin_request(conversation, taken, session);
        // Without a connection it is not known to whom it would be said later.
        if is_said || session.is_none() {
            self.ended = None;
        }
        self.due = (has_more || !is_said).then(|| now + MARK_INTERVAL);
    }

    fn turn_off(&mut self) {
        (self.is_off, self.due, self.ended) = (true, None, None);
    }

    /// Whether it is on its way.
    fn begin_request(
        &mut self,
        conversation: &ConversationName,
        seq: Seq,
        session: Option<&SignedIn>,
    ) -> bool {
        if self.under_way.is_some() {
            return false;
        }
        let Some(session) = session else { return false };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return false };
        let (waiter, answer) = oneshot::channel();
        let request = Request::Mark { conversation: conversation.clone(), delivered: seq, read: Seq::ZERO };
        if session.control.try_send(Outgoing::Request(request, waiter)).is_err() {
            return false;
        }
        self.under_way = Some(UnderWay { seq, answer, _permit: permit });
        true
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::frame::{Durability, Welcome};
    use quoth_protocol::{Code, UserId};
    use tokio::sync::mpsc;

    use super::*;

    fn session(features: u64) -> (SignedIn, mpsc::Receiver<Outgoing>) {
        let (control, queue) = mpsc::channel(4);
        let welcome = Welcome {
            version: 1,
            features,
            user: UserId::new("alice").unwrap(),
            durability: Durability::Memory,
            time_ms: 0,
            open_conversations_max: 1,
            server: String::new(),
        };
        (SignedIn { welcome: Arc::new(welcome), control }, queue)
    }

    fn said(queue: &mut mpsc::Receiver<Outgoing>) -> Option<(Seq, oneshot::Sender<Reply>)> {
        match queue.try_recv().ok()? {
            Outgoing::Request(Request::Mark { delivered, read: Seq::ZERO, .. }, waiter) => {
                Some((delivered, waiter))
            }
            other => panic!("{other:?}"),
        }
    }

    fn marks() -> (ConversationName, Marks) {
        let name = ConversationName::new("general").unwrap();
        let marks = Marks::new(&name, Arc::new(Semaphore::new(MARKS_UNDER_WAY_MAX)), true);
        (name, marks)
    }

    fn done(name: &ConversationName) -> Reply {
        Reply::Done { conversation: name.clone(), seq: Seq::ZERO, time_ms: 0 }
    }

    #[tokio::test]
    async fn a_run_of_messages_is_one_mark_of_what_was_taken() {
        let ((name, mut marks), (session, mut queue)) = (marks(), session(feature::MESSAGES));
        let start = Instant::now();
        marks.received(Seq(3), start);
        assert!(!marks.is_curious(), "it knows of one");
        marks.mark(&name, Some((Seq(3), false)), Some(&session), start + MARK_INTERVAL / 2);
        assert!(said(&mut queue).is_none(), "not yet");
        // The application has not taken the last one.
        marks.mark(&name, Some((Seq(8), true)), Some(&session), start + MARK_INTERVAL);
        let (seq, waiter) = said(&mut queue).unwrap();
        assert_eq!((seq, marks.due()), (Seq(8), Some(start + 2 * MARK_INTERVAL)));
        // It takes until the server has answered.
        marks.mark(&name, Some((Seq(9), false)), Some(&session), start + 2 * MARK_INTERVAL);
        assert!(said(&mut queue).is_none() && marks.due().is_some());
        waiter.send(done(&name)).unwrap();
        marks.answered().await;
        marks.mark(&name, Some((Seq(9), false)), Some(&session), start + 3 * MARK_INTERVAL);
        let (seq, waiter) = said(&mut queue).unwrap();
        assert_eq!((seq, marks.due()), (Seq(9), None));
        waiter.send(done(&name)).unwrap();
        marks.answered().await;
        marks.received(Seq(9), start);
        assert_eq!(marks.due(), None, "that was said");
    }

    #[tokio::test]
    async fn the_last_mark_of_a_reader_waits_for_the_one_before_it() {
        let ((name, mut marks), (session, mut queue)) = (marks(), session(feature::MESSAGES));
        let start = Instant::now();
        marks.received(Seq(5), start);
        marks.mark(&name, Some((Seq(5), false)), Some(&session), start + MARK_INTERVAL);
        let (_, waiter) = said(&mut queue).unwrap();
        marks.received(Seq(6), start);
        marks.end(&name, Seq(7), Some(&session));
        assert!(said(&mut queue).is_none(), "one at a time");
        waiter.send(done(&name)).unwrap();
        marks.answered().await;
        marks.mark(&name, None, Some(&session), Instant::now());
        let (seq, waiter) = said(&mut queue).unwrap();
        assert_eq!((seq, marks.due(), marks.waits()), (Seq(7), None, false));
        // Another reader, which is not as far, changes nothing of it.
        marks.received(Seq(9), start);
        marks.end(&name, Seq(9), Some(&session));
        assert!(marks.waits());
        marks.begin();
        marks.end(&name, Seq(2), Some(&session));
        waiter.send(done(&name)).unwrap();
        marks.answered().await;
        marks.mark(&name, Some((Seq(2), false)), Some(&session), Instant::now());
        let (seq, waiter) = said(&mut queue).unwrap();
        assert_eq!(seq, Seq(9));
        // With the connection goes what was to be said on it.
        marks.received(Seq(11), start);
        marks.end(&name, Seq(11), Some(&session));
        drop(waiter);
        marks.answered().await;
        marks.mark(&name, None, Some(&session), Instant::now() + MARK_INTERVAL);
        assert!(said(&mut queue).is_none() && marks.due().is_none());
        // And what was said of another store is not said of this one.
        marks.forget();
        marks.received(Seq(3), start);
        assert!(marks.due().is_some());
    }

    #[tokio::test]
    async fn what_the_server_refuses_is_not_said_again_to_the_same_reader() {
        let ((name, mut marks), (session, mut queue)) = (marks(), session(feature::MESSAGES));
        marks.received(Seq(1), Instant::now());
        marks.end(&name, Seq(1), Some(&session));
        let refused = Reply::Refused { code: Code::FORBIDDEN, retry_after_ms: 0, reason: String::new() };
        said(&mut queue).unwrap().1.send(refused).unwrap();
        marks.answered().await;
        assert!(!marks.is_curious());
        marks.begin();
        assert!(marks.is_curious(), "another reader");
    }

    #[tokio::test]
    async fn a_lost_answer_is_none() {
        let ((name, mut marks), (session, mut queue)) = (marks(), session(feature::MESSAGES));
        marks.received(Seq(1), Instant::now());
        marks.end(&name, Seq(1), Some(&session));
        drop(said(&mut queue));
        marks.answered().await;
        marks.received(Seq(1), Instant::now());
        assert!(marks.due().is_some(), "it may not be stored");
    }

    #[tokio::test]
    async fn nothing_is_said_where_nobody_wants_or_knows_it() {
        let (name, mut marks) = marks();
        let (session, mut queue) = session(feature::MEMBERSHIP);
        marks.received(Seq(1), Instant::now());
        marks.end(&name, Seq(1), Some(&session));
        assert!(said(&mut queue).is_none() && !marks.is_curious());
        let permits = Arc::new(Semaphore::new(1));
        let own = ConversationName::new("$me").unwrap();
        assert!(!Marks::new(&own, Arc::clone(&permits), true).is_curious());
        assert!(!Marks::new(&name, permits, false).is_curious());
    }
}
