//! What is done to messages: decided by what is sequenced, out when it is durable, and absent for everybody
//! from then on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quoth_core::authorize::Grant;
use quoth_core::membership::{Change, ConversationState, Fact, Refusal};
use quoth_core::messages::{self, Alteration, REACTION};
use quoth_core::retention::{Keeping, Retention};
use quoth_core::tail::Next;
use quoth_protocol::codec::Decoder;
use quoth_protocol::frame::{EventKind, ServerFrame};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::message::MessageState;
use quoth_protocol::{Code, ConversationName, Pattern, Seq, UserId};
use quoth_store::testing::{Overridden, ViewOverride, notice};
use quoth_store::{LogError, MemoryLog, MemoryView, PageLimit, Record, Register, View, ViewError};
use tokio::task::JoinHandle;

use super::changes::{publish, publisher};
use super::durable::gated_log;
use super::world::{self, hooked_view, outcome, room, start, stop, wanted};
use crate::engine::{Access, Caller, Done, Engine, PageParts, Retain, Stopper};

const ALL: PageLimit = PageLimit { records: 1_000, bytes: usize::MAX };

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn caller(name: &str) -> Caller {
    Caller::User(Arc::new(Grant::of_membership(user(name))))
}

fn create() -> Change {
    let (kind, members) = (ConversationKind::Group, vec![user("bob")]);
    Change::Create { kind, title: String::new(), members, open: false }
}

fn edit(text: &'static str) -> Alteration {
    Alteration::Edit { body: Bytes::from_static(text.as_bytes()), mentions: Vec::new() }
}

fn react(reaction: &str, on: bool) -> Alteration {
    Alteration::React { reaction: reaction.to_owned(), on }
}

fn shown(chunks: &[Bytes]) -> String {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    chunks.iter().for_each(|chunk| decoder.push(chunk));
    let frames: Vec<ServerFrame> = std::iter::from_fn(|| decoder.next_frame().unwrap()).collect();
    let show = |frame: &ServerFrame| match frame {
        ServerFrame::Gap { from, to } => format!("gap {from}-{to}"),
        ServerFrame::Event(event) => match &event.kind {
            EventKind::Message { body, .. } => String::from_utf8(body.to_vec()).unwrap(),
            EventKind::Edited { seq, .. } => format!("edit of {seq}"),
            EventKind::Revoked { seq } => format!("revoked {seq}"),
            EventKind::Reacted { seq, .. } => format!("reaction to {seq}"),
            _ => "-".to_owned(),
        },
        other => panic!("{other:?}"),
    };
    frames.iter().map(show).collect::<Vec<_>>().join(", ")
}

fn by_tail(engine: &Engine, access: &Access, cursor: u64) -> String {
    let mut frames = Vec::new();
    engine.read_tail(access.name(), wanted(Seq(cursor)), &mut frames);
    shown(&frames)
}

async fn by_view(engine: &Engine, access: &Access, cursor: u64) -> String {
    let head = engine.applied_bounds(access.name(), Keeping::default()).await.unwrap().head;
    let page =
        engine.reads().page(access.name(), Seq(cursor), head, ALL, engine.reading_of(access)).await.unwrap();
    assert_eq!(page.reached, head);
    let read = engine
        .reads()
        .after(access.name(), Seq(cursor), Seq(u64::MAX), ALL, engine.reading_of(access))
        .await
        .unwrap();
    assert_eq!((&read.chunks, read.reached), (&page.chunks, head));
    for in_view in [None, Some(head)] {
        let mut parts = parts(engine, access, Seq(cursor), in_view).await;
        let part = parts.next(Seq(cursor), head, &engine.reading_of(access)).unwrap();
        assert_eq!((&part.chunks, part.reached), (&page.chunks, head));
    }
    shown(&page.chunks)
}

async fn parts(engine: &Engine, access: &Access, cursor: Seq, in_view: Option<Seq>) -> PageParts {
    let at = engine.reading_of(access);
    engine.reads().parts(access.name(), cursor, Seq(u64::MAX), in_view, ALL, at).await.unwrap()
}

/// A part of a page is judged when it goes.
#[tokio::test]
async fn what_is_revoked_behind_a_reading_is_not_handed_over() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let access = group(&engine, 3).await;
    let head = engine.applied_bounds(access.name(), Keeping::default()).await.unwrap().head;
    let mut parts = parts(&engine, &access, Seq(3), Some(head)).await;
    engine.alter(caller("bob"), &room("room"), Seq(5), Alteration::Revoke).await.unwrap();
    let part = parts.next(Seq(3), Seq(u64::MAX), &engine.reading_of(&access)).unwrap();
    assert_eq!((shown(&part.chunks).as_str(), part.reached), ("text, gap 5-5, text", head));
    assert!(parts.next(head, Seq(u64::MAX), &engine.reading_of(&access)).is_none());
    drop(access);
    stop(engine, stopper).await.unwrap();
}

/// A group of alice and bob, whose first events are 1 to 3, with messages of bob behind them.
async fn group(engine: &Engine, messages: u64) -> Arc<Access> {
    engine.change(caller("alice"), &room("room"), create()).await.unwrap();
    let bob = publisher(engine, "bob").await;
    for n in 1..=messages {
        publish(engine, &bob, n).await;
        outcome(&bob).await.result.unwrap();
    }
    engine.access(&room("room"), &user("alice")).await.unwrap()
}

#[tokio::test]
async fn what_is_revoked_is_absent_in_tail_and_view_when_the_answer_comes_and_after_a_restart() {
    let (log, view) = (MemoryLog::new(), MemoryView::new());
    let (engine, stopper) = start(log.clone(), view.clone());
    let access = group(&engine, 4).await;
    let alter = async |who: &str, seq: u64, what| {
        engine.alter(caller(who), &room("room"), Seq(seq), what).await.map(|done| done.seq.0)
    };
    assert_eq!(alter("bob", 5, edit("second")).await, Ok(8));
    assert_eq!(alter("alice", 5, react("+1", true)).await, Ok(9));
    assert_eq!(alter("bob", 5, edit("third")).await, Ok(10));
    let expected = "text, text, text, text, gap 8-8, reaction to 5, edit of 5";
    assert_eq!(
        (by_tail(&engine, &access, 3), by_view(&engine, &access, 3).await),
        (expected.into(), expected.into())
    );
    assert_eq!(alter("bob", 5, edit("third")).await, Ok(0), "the same again is done");
    assert_eq!(alter("alice", 5, react("+1", true)).await, Ok(0));
    assert_eq!(alter("alice", 5, edit("mine")).await.unwrap_err().code, Code::FORBIDDEN);
    assert_eq!(alter("eve", 5, react("+1", true)).await.unwrap_err().code, Code::FORBIDDEN);
    // Alice may delete everybody's.
    assert_eq!(alter("alice", 5, Alteration::Revoke).await, Ok(11));
    assert_eq!(alter("bob", 6, Alteration::Revoke).await, Ok(12));
    let expected = "text, gap 5-6, text, gap 8-8, reaction to 5, gap 10-10, revoked 5, revoked 6";
    assert_eq!(
        (by_tail(&engine, &access, 3), by_view(&engine, &access, 3).await),
        (expected.into(), expected.into())
    );
    for seq in [0, 2, 5, 9, 11, 13, u64::MAX] {
        assert_eq!(alter("bob", seq, Alteration::Revoke).await.unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    }
    let states = async |engine: &Engine| {
        engine.message_states(&caller("alice"), &room("room"), (4..=7).map(Seq).collect()).await.unwrap()
    };
    assert_eq!(states(&engine).await.absent, [Seq(5), Seq(6)]);
    drop(access);
    stop(engine, stopper).await.unwrap();

    let (engine, stopper) = start(log, view);
    let access = engine.access(&room("room"), &user("alice")).await.unwrap();
    // Its registers are not those of members.
    assert_eq!(access.with_state(|state| state.map(ConversationState::members_count)), Some(2));
    assert_eq!(by_view(&engine, &access, 3).await, expected);
    assert_eq!(states(&engine).await.absent, [Seq(5), Seq(6)]);
    let again = engine.alter(caller("bob"), &room("room"), Seq(5), edit("again")).await.unwrap_err();
    assert_eq!(again.code, Code::NOT_FOUND_MESSAGE);
    drop(access);
    stop(engine, stopper).await.unwrap();
}

/// A user whose token is for conversations without members: these are in no list, whose notices would be
/// groups of their own.
fn writer(name: &str) -> Caller {
    let all = Some(vec![Pattern::new("*")]);
    Caller::User(Arc::new(Grant { read: all.clone(), write: all, ..Grant::of_membership(user(name)) }))
}

/// A conversation without members whose first event is a message of bob.
async fn said(engine: &Engine) -> Arc<Access> {
    let bob = publisher(engine, "bob").await;
    world::publish(engine, &bob, 1).await;
    outcome(&bob).await.result.unwrap();
    engine.access(&room("room"), &user("alice")).await.unwrap()
}

/// An engine that has bob's message, whose flushes from then on say that they have begun and wait for a word
/// how to end.
struct Gated {
    engine: Engine,
    stopper: Stopper,
    access: Arc<Access>,
    begun: Receiver<()>,
    end: Sender<Result<(), LogError>>,
}

async fn gated() -> Gated {
    let (log, begun, end) = gated_log();
    let (engine, stopper) = start(log, MemoryView::new());
    let setup = tokio::spawn({
        let engine = engine.clone();
        async move { said(&engine).await }
    });
    let begun = begins(begun).await;
    end.send(Ok(())).unwrap();
    Gated { access: setup.await.unwrap(), engine, stopper, begun, end }
}

/// Bob does something to his message.
fn alter(engine: &Engine, what: Alteration) -> JoinHandle<Result<Done, Refusal>> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.alter(writer("bob"), &room("room"), Seq(1), what).await })
}

async fn begins(begun: Receiver<()>) -> Receiver<()> {
    let begun = tokio::task::spawn_blocking(move || {
        begun.recv().unwrap();
        begun
    });
    begun.await.unwrap()
}

/// An edit that was let through while a revocation was not durable yet comes behind it, in whichever group.
#[tokio::test]
async fn nothing_is_absent_before_the_flush_and_nothing_is_altered_behind_a_revocation() {
    let Gated { engine, stopper, access, begun, end } = gated().await;
    let alter = |what| alter(&engine, what);
    let revoked = alter(Alteration::Revoke);
    let begun = begins(begun).await;
    assert_eq!(by_tail(&engine, &access, 0), "text", "nothing of it is out");
    let (edited, reacted) = (alter(edit("late")), alter(react("+1", true)));
    // Both were let through by what is out.
    while engine.inner.queue.capacity() + 2 > engine.inner.queue.max_capacity() {
        tokio::task::yield_now().await;
    }
    end.send(Ok(())).unwrap();
    drop((end, begun));
    assert_eq!(revoked.await.unwrap().unwrap().seq, Seq(2));
    for refused in [edited, reacted] {
        assert_eq!(refused.await.unwrap().unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    }
    assert_eq!(by_tail(&engine, &access, 0), "gap 1-1, revoked 1");
    drop(access);
    stop(engine, stopper).await.unwrap();
}

/// In one group, too: the second one is decided by what the first one has come to.
#[tokio::test]
async fn what_is_in_one_group_is_decided_in_its_order() {
    let Gated { engine, stopper, access, mut begun, end } = gated().await;
    let mut asked = Vec::new();
    let alter = |what| alter(&engine, what);
    asked.push(alter(react("+1", true)));
    begun = begins(begun).await;
    let behind =
        [react("+1", true), react("+1", false), edit("once"), edit("once"), Alteration::Revoke, edit("late")];
    for (waiting, what) in (1..).zip(behind) {
        asked.push(alter(what));
        while engine.inner.queue.capacity() + waiting > engine.inner.queue.max_capacity() {
            tokio::task::yield_now().await;
        }
    }
    end.send(Ok(())).unwrap();
    let _begun = begins(begun).await;
    end.send(Ok(())).unwrap();
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.unwrap().map(|done| done.seq.0).map_err(|refusal| refusal.code));
    }
    assert_eq!(answers, [Ok(2), Ok(0), Ok(3), Ok(4), Ok(0), Ok(5), Err(Code::NOT_FOUND_MESSAGE)]);
    let expected = "gap 1-1, reaction to 1, reaction to 1, gap 4-4, revoked 1";
    assert_eq!(by_tail(&engine, &access, 0), expected);
    drop((access, end));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn one_whose_flush_fails_makes_nothing_absent() {
    let Gated { engine, stopper, access, begun, end } = gated().await;
    let revoked = alter(&engine, Alteration::Revoke);
    let _begun = begins(begun).await;
    end.send(Err(LogError::Poisoned)).unwrap();
    assert_eq!(revoked.await.unwrap().unwrap_err().code, Code::STORE_FAILED);
    assert_eq!(by_tail(&engine, &access, 0), "text");
    drop((access, end));
    stop(engine, stopper).await.unwrap_err();
}

/// A page's states, piece by piece.
async fn states_of_page(
    engine: &Engine,
    access: &Access,
    seqs: impl Iterator<Item = u64>,
) -> Vec<Vec<MessageState>> {
    let (seqs, mut pieces, mut behind) = (seqs.map(Seq).collect::<Arc<[Seq]>>(), Vec::new(), Some(Seq(0)));
    while let Some(after) = behind {
        let (name, at) = (access.name(), engine.reading_of(access));
        let me = user("alice");
        let piece = engine.states_of_page(name, &at, &me, &seqs, after, Seq(u64::MAX)).await.unwrap();
        pieces.push(piece.0);
        behind = piece.1;
    }
    pieces
}

/// States say what has become of messages by exactly the events up to their version, while reactions come all
/// the time.
#[tokio::test]
async fn states_of_a_page_are_those_of_their_version() {
    let view = MemoryView::new();
    let (engine, stopper) = start(MemoryLog::new(), view.clone());
    let access = group(&engine, 3).await;
    let reacts = tokio::spawn({
        let engine = engine.clone();
        async move {
            for n in 0..300_u64 {
                let (who, on) = (["alice", "bob"][usize::try_from(n % 2).unwrap()], n / 2 % 3 < 2);
                engine.alter(caller(who), &room("room"), Seq(4 + n % 3), react("+1", on)).await.unwrap();
            }
        }
    });
    let mut pages = Vec::new();
    while !reacts.is_finished() {
        let bounds = engine.applied_bounds(access.name(), Keeping::default()).await.unwrap();
        let states = states_of_page(&engine, &access, 1..=bounds.head.0).await;
        pages.push((states.concat(), bounds.head));
    }
    reacts.await.unwrap();
    let events = view.after(&room("room"), Seq(0), ALL).unwrap();
    for (states, head) in pages {
        for seq in (4..=6).map(Seq) {
            let mut users = std::collections::BTreeSet::new();
            let state = states.iter().find(|state| state.seq == seq);
            let version = state.map_or(head, |state| state.version);
            for record in events.iter().filter(|record| record.seq <= head.max(version)) {
                if let EventKind::Reacted { seq: to, on, .. } = crate::engine::event(record).unwrap().kind
                    && to == seq
                {
                    let _others =
                        if on { users.insert(record.sender.clone()) } else { users.remove(&record.sender) };
                }
            }
            let told = state.and_then(|state| state.reactions.first());
            let told = told.map(|reaction| (reaction.count as usize, reaction.mine));
            let expected = (!users.is_empty()).then(|| (users.len(), users.contains(&user("alice"))));
            assert_eq!(told, expected, "message {seq} at head {head}");
        }
    }
    drop(access);
    stop(engine, stopper).await.unwrap();
}

/// A view in which something comes while it is read whose reaction one is.
struct MovesOn(MemoryView, Arc<Mutex<Vec<Record>>>);

impl ViewOverride for MovesOn {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn register(&self, name: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        let is_reaction = key.starts_with(&REACTION);
        let later = if is_reaction { std::mem::take(&mut *self.1.lock().unwrap()) } else { Vec::new() };
        if !later.is_empty() {
            self.0.apply(self.0.applied().next(), &later)?;
        }
        self.0.register(name, key)
    }
}

#[tokio::test]
async fn a_state_that_is_another_one_by_now_is_read_again() {
    let later = Arc::<Mutex<Vec<Record>>>::default();
    let view = Overridden(MovesOn(MemoryView::new(), Arc::clone(&later)));
    let (engine, _stopper) = start(MemoryLog::new(), view);
    let access = group(&engine, 1).await;
    engine.alter(caller("alice"), &room("room"), Seq(4), react("+1", true)).await.unwrap();
    engine.applied_bounds(access.name(), Keeping::default()).await.unwrap();
    // It is taken back while it is read, which the log of this test does not know.
    let (mut state, sender) = (messages::MessageState::default(), user("alice"));
    let mut taken_back = Vec::new();
    for (seq, on) in [(5, true), (6, false)] {
        let kind = EventKind::Reacted { seq: Seq(4), reaction: "+1".to_owned(), on };
        let fact = Fact { seq: Seq(seq), time_ms: seq, sender: &sender, kind: &kind };
        taken_back = state.apply(Seq(4), fact).registers;
    }
    let registers =
        taken_back.into_iter().map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
    later.lock().unwrap().push(notice("room", registers.collect::<Vec<_>>()));
    let expected = MessageState { seq: Seq(4), version: Seq(6), edited: None, reactions: Vec::new() };
    assert_eq!(states_of_page(&engine, &access, 4..=4).await, [[expected]]);
}

#[tokio::test]
async fn states_of_a_page_are_read_piece_by_piece_and_of_what_it_has_alone() {
    const BODY_BYTES: usize = 30 * 1024;
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let access = group(&engine, 300).await;
    for seq in (4..=303).filter(|seq| seq % 20 == 0 || *seq > 298) {
        let body = vec![b'x'; BODY_BYTES].into();
        let edit = Alteration::Edit { body, mentions: vec![] };
        engine.alter(caller("bob"), &room("room"), Seq(seq), edit).await.unwrap();
    }
    engine.applied_bounds(access.name(), Keeping::default()).await.unwrap();
    let pieces = states_of_page(&engine, &access, (4..=303).filter(|seq| ![40, 300].contains(seq))).await;
    let seqs: Vec<u64> = pieces.iter().flatten().map(|state| state.seq.0).collect();
    assert_eq!(seqs, [20, 60, 80, 100, 120, 140, 160, 180, 200, 220, 240, 260, 280, 299, 301, 302, 303]);
    assert!(
        pieces.iter().all(|piece| piece.len() <= 3),
        "{:?}",
        pieces.iter().map(Vec::len).collect::<Vec<_>>()
    );
    drop(access);
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn who_hides_a_message_twice_writes_it_once() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let access = group(&engine, 1).await;
    let hide =
        async |who: &str, seq| engine.hide(caller(who), &room("room"), Seq(seq)).await.map(|done| done.seq.0);
    assert_eq!(hide("alice", 4).await, Ok(2), "the first event of her own log was that she belongs there");
    engine.applied_bounds(access.name(), Keeping::default()).await.unwrap();
    assert_eq!(hide("alice", 4).await, Ok(0));
    assert_eq!(hide("bob", 4).await, Ok(2), "for oneself");
    assert_eq!(hide("eve", 4).await.unwrap_err().code, Code::FORBIDDEN);
    assert_eq!(hide("alice", 9).await.unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    engine.change(caller("bob"), &room("room"), Change::Leave).await.unwrap();
    let left = engine.alter(writer("bob"), &room("room"), Seq(1), Alteration::Revoke).await.unwrap_err();
    assert_eq!(left.code, Code::FORBIDDEN);
    drop(access);
    stop(engine, stopper).await.unwrap();
}

/// As many as ask for what is behind these, by turns, while the first one's read is under way; gives what
/// they get. Meanwhile message 6 is revoked. There are five messages behind three events of the group.
async fn read_at_once(policy: Option<Retention>, cursors: &[u64]) -> Vec<String> {
    const READERS: usize = 20;
    let (begin, begun) = channel();
    let (end, ends) = channel::<()>();
    let (begin, ends, reads) = (Mutex::new(begin), Mutex::new(ends), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&reads);
    let is_gated = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let gated = Arc::clone(&is_gated);
    let hook = move |call: &'static str, _: Option<&ConversationName>| {
        if call == "after" && gated.load(Ordering::Relaxed) {
            counted.fetch_add(1, Ordering::Relaxed);
            begin.lock().unwrap().send(()).unwrap();
            ends.lock().unwrap().recv().unwrap_err();
        }
        Ok(())
    };
    let (engine, stopper) = start(MemoryLog::new(), hooked_view(MemoryView::new(), hook));
    let access = group(&engine, 5).await;
    if let Some(policy) = policy {
        engine.retain(caller("alice"), &room("room"), Retain::Policy(policy)).await.unwrap();
    }
    let head = engine.applied_bounds(access.name(), Keeping::default()).await.unwrap().head;
    is_gated.store(true, Ordering::Relaxed);
    let readers: Vec<_> = cursors
        .iter()
        .cycle()
        .take(READERS)
        .map(|cursor| {
            let (engine, access, cursor) = (engine.clone(), Arc::clone(&access), Seq(*cursor));
            tokio::spawn(async move {
                let at = engine.reading_of(&access);
                engine.reads().page(access.name(), cursor, head, ALL, at).await.unwrap()
            })
        })
        .collect();
    // All of them wait for the one read that has begun.
    let begun = begins(begun).await;
    while engine.reads().page_readers() < READERS {
        tokio::task::yield_now().await;
    }
    // What goes meanwhile is left out of it.
    is_gated.store(false, Ordering::Relaxed);
    engine.alter(caller("bob"), &room("room"), Seq(6), Alteration::Revoke).await.unwrap();
    drop((end, begun));
    let mut pages = Vec::new();
    for reader in readers {
        pages.push(shown(&reader.await.unwrap().chunks));
    }
    assert_eq!(reads.load(Ordering::Relaxed), 1);
    let next = engine.read_tail(access.name(), wanted(head), &mut Vec::new());
    assert!(matches!(next, Next::Frames(seq) if seq == head.next()));
    drop(access);
    stop(engine, stopper).await.unwrap();
    pages
}

#[tokio::test]
async fn readers_of_the_same_page_at_once_cost_one_read() {
    for page in read_at_once(None, &[3]).await {
        assert_eq!(page, "text, text, gap 6-6, text, text");
    }
}

#[tokio::test]
async fn where_events_are_kept_for_a_time_what_is_gone_makes_no_other_page() {
    // Of nine events, the policy the last of them.
    let last_five = Retention { count: 5, ..Retention::FOR_EVER };
    let pages = read_at_once(Some(last_five), &[3, 1, 4]).await;
    for (page, gone) in pages.iter().zip(["gap 4-4, ", "gap 2-4, ", ""].into_iter().cycle()) {
        assert_eq!(*page, format!("{gone}text, gap 6-6, text, text, -"));
    }
    let long = Retention { age_s: 3_600, ..Retention::FOR_EVER };
    for page in read_at_once(Some(long), &[3]).await {
        assert_eq!(page, "text, text, gap 6-6, text, text, -");
    }
}
