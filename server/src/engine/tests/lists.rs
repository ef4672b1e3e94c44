//! Users' lists of conversations: in order, cheap to move, and as cheap to read however long they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::authorize::Grant;
use quoth_core::conversation::{About, Append};
use quoth_core::inbox::{CHANGE_DUE, DUE, MOVE_INTERVAL_MS, Settings};
use quoth_core::membership::user::BLOCKED;
use quoth_core::membership::{Actor, Change};
use quoth_core::messages::Alteration;
use quoth_core::receipts::Cursor;
use quoth_protocol::frame::Durability;
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::limits::{INBOX_CHANGES_MAX, INBOX_PINNED_MAX};
use quoth_protocol::membership::{ConversationKind, Role as MemberRole};
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};
use quoth_store::testing::{LogOverride, Overridden, ViewOverride};
use quoth_store::{
    Log, LogError, MemoryLog, MemoryView, PageLimit, Position, Record, Store, Stretch, View, ViewError,
};

use super::room::full;
use super::world::{outcome, room, stop};
use crate::engine::{
    Batch, Caller, Clock, Engine, Execution, InboxPage, InboxWatch, Mailbox, Publisher, Retain, Role, Since,
    Stopper,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that a test moves on and sets back, and one that it moves on alone.
#[derive(Debug)]
pub(super) struct HandClock(AtomicU64, AtomicU64);

impl HandClock {
    pub(super) fn new(now_ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(now_ms), AtomicU64::new(0)))
    }

    pub(super) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
        self.1.fetch_add(ms, Ordering::SeqCst);
    }

    pub(super) fn set_back(&self, ms: u64) {
        self.0.fetch_sub(ms, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn elapsed_ms(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }
}

/// What a view was told and asked.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Rows and records that were read.
    pub(super) read: AtomicUsize,
    /// How often it was asked whom somebody has blocked.
    pub(super) blocks: AtomicUsize,
    /// Notices with registers by their conversations.
    notices: Mutex<BTreeMap<ConversationName, usize>>,
}

/// A view that counts.
struct CountedView(MemoryView, Arc<Told>);

impl ViewOverride for CountedView {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        for record in records.iter().filter(|record| !record.is_event()) {
            *self.1.notices.lock().entry(record.conversation.clone()).or_default() += 1;
        }
        self.0.apply(position, records)
    }

    fn after(&self, name: &ConversationName, after: Seq, limit: PageLimit) -> Result<Stretch, ViewError> {
        let records = self.0.after(name, after, limit)?;
        self.1.read.fetch_add(records.len(), Ordering::SeqCst);
        Ok(records)
    }

    fn before(
        &self,
        name: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        let records = self.0.before(name, before, limit)?;
        self.1.read.fetch_add(records.len(), Ordering::SeqCst);
        Ok(records)
    }

    fn register(&self, name: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.1.read.fetch_add(1, Ordering::SeqCst);
        self.0.register(name, key)
    }

    fn registers(
        &self,
        name: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let rows = self.0.registers(name, prefix, after, limit)?;
        self.1.blocks.fetch_add(usize::from(prefix == [BLOCKED]), Ordering::SeqCst);
        self.1.read.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }
}

/// A log that has no room for so many groups with something of bob's own log.
struct NoRoomForBob(MemoryLog, Arc<AtomicUsize>);

impl LogOverride for NoRoomForBob {
    fn inner(&self) -> &dyn Log {
        &self.0
    }

    fn append(&self, group: &[u8]) -> Result<Position, LogError> {
        let name = ConversationName::of_user(&user("bob"));
        let is_bobs = group.windows(name.as_str().len()).any(|part| part == name.as_str().as_bytes());
        let one_less = |left: usize| left.checked_sub(1);
        if is_bobs && self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(full());
        }
        self.0.append(group)
    }
}

/// An engine whose clock stands, over a log and a view that outlive it.
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) clock: Arc<HandClock>,
    pub(super) told: Arc<Told>,
    /// Groups for bob's own log that there is no room for.
    pub(super) no_room: Arc<AtomicUsize>,
    stopper: Stopper,
    log: MemoryLog,
    view: MemoryView,
    ns: u64,
}

impl World {
    pub(super) fn new() -> Self {
        Self::at(1_000_000)
    }

    /// The same at a time, in milliseconds since 1970.
    pub(super) fn at(now_ms: u64) -> Self {
        Self::over(MemoryLog::new(), MemoryView::new(), HandClock::new(now_ms))
    }

    fn over(log: MemoryLog, view: MemoryView, clock: Arc<HandClock>) -> Self {
        let (told, no_room) = (Arc::<Told>::default(), Arc::<AtomicUsize>::default());
        let mut store = Store::memory();
        store.log = Arc::new(Overridden(NoRoomForBob(log.clone(), Arc::clone(&no_room))));
        store.view = Arc::new(Overridden(CountedView(view.clone(), Arc::clone(&told))));
        let of_engine: Arc<dyn Clock> = Arc::<HandClock>::clone(&clock);
        let (engine, stopper) = Engine::start(store, Durability::Memory, of_engine, Execution::Threads);
        Self { engine, clock, told, no_room, stopper, log, view, ns: 0 }
    }

    pub(super) async fn stop(self) {
        stop(self.engine, self.stopper).await.unwrap();
    }

    /// The same log and view with another engine, as after a crash.
    pub(super) fn again(self) -> Self {
        let Self { engine, clock, stopper, log, view, ns, .. } = self;
        drop((engine, stopper));
        Self { ns, ..Self::over(log, view, clock) }
    }

    /// Notices of a log that the view has by now.
    pub(super) async fn notices(&self, log: &ConversationName) -> usize {
        self.engine.registers(log.clone(), b"", 1).await.unwrap();
        self.told.notices.lock().get(log).copied().unwrap_or_default()
    }

    pub(super) async fn group(&self, name: &ConversationName, owner: &str, members: &[&str]) {
        let members = members.iter().map(|name| user(name)).collect();
        let create =
            Change::Create { kind: ConversationKind::Group, title: String::new(), members, open: false };
        self.engine.change(caller(owner), name, create).await.unwrap();
    }

    pub(super) async fn publish(&mut self, name: &ConversationName, sender: &str, mentions: &[&str]) -> Seq {
        let mentions = mentions.iter().map(|name| user(name)).collect();
        self.say(name, sender, About { mentions, ..About::default() }).await
    }

    pub(super) async fn say(&mut self, name: &ConversationName, sender: &str, about: About) -> Seq {
        self.ns += 1;
        let access = self.engine.access(name, &user(sender)).await.unwrap();
        let stand = access.stand(Actor::User(&Grant::of_membership(user(sender))));
        let publisher =
            Publisher::new(access, Role::User, user(sender), ProducerId(self.ns), Mailbox::of_anybody());
        let append = Append { n: 1, sender: user(sender), origin_time_ms: None, body: "text".into(), about };
        assert!(self.engine.publish(&publisher, append, &stand).await);
        outcome(&publisher).await.result.unwrap().seq
    }

    async fn page(&self, of: &str, after: Option<&str>, limit: usize) -> InboxPage {
        self.engine.inbox_page(&grant(of), after, limit).await.unwrap().expect("the end of a page")
    }

    async fn names(&self, of: &str) -> Vec<String> {
        self.page(of, None, 50).await.rows.into_iter().map(|row| row.conversation.to_string()).collect()
    }

    /// The first row of a list.
    pub(super) async fn row(&self, of: &str) -> InboxRow {
        self.page(of, None, 1).await.rows.remove(0)
    }

    /// The first conversation by where the conversations stand alone, not by what is in them.
    pub(super) async fn first(&self, of: &str) -> ConversationName {
        self.page(of, None, 1).await.rows.remove(0).conversation
    }

    /// Waits until a list is this one: it follows what has happened within moments.
    pub(super) async fn listed(&self, of: &str, expected: &[&str]) {
        let is_listed = async {
            while self.names(of).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, is_listed).await.is_err() {
            panic!("{of} has {:?} in place of {expected:?}", self.names(of).await);
        }
    }

    /// Waits until what is to be moved is moved, and what has changed is said to have.
    pub(super) async fn settled(&self) {
        let is_kind_due = async |kind: &'static [u8]| {
            !self.engine.registers(ConversationName::server(), kind, 9).await.unwrap().is_empty()
        };
        let is_due = async || is_kind_due(&[DUE]).await || is_kind_due(&[CHANGE_DUE]).await;
        let settled = async {
            self.engine.settle().await;
            while is_due().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("lists are moved");
    }
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn grant(name: &str) -> Arc<Grant> {
    Arc::new(Grant::of_membership(user(name)))
}

pub(super) fn caller(name: &str) -> Caller {
    Caller::User(grant(name))
}

pub(super) async fn rows(watch: &InboxWatch, engine: &Engine, of: &str) -> Vec<InboxRow> {
    batch(watch, engine, of).await.into_iter().map(|(_, row)| row).collect()
}

/// The next rows, each with up to where its reader knows.
async fn batch(watch: &InboxWatch, engine: &Engine, of: &str) -> Vec<(u64, InboxRow)> {
    let next = tokio::time::timeout(PATIENCE, watch.next(engine, || grant(of)));
    match next.await.expect("rows come").unwrap() {
        Batch::Rows(rows) => rows,
        Batch::Stalled => panic!("it is stalled"),
    }
}

#[tokio::test]
async fn the_latest_conversation_comes_first_and_what_is_unread_is_counted() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.clock.advance(MOVE_INTERVAL_MS);
        world.group(&room(name), "alice", &["bob"]).await;
    }
    world.listed("bob", &["c", "b", "a"]).await;
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("a"), "alice", &["bob"]).await;
    world.publish(&room("a"), "bob", &["bob"]).await;
    world.publish(&room("a"), "alice", &[]).await;
    world.settled().await;
    world.listed("bob", &["a", "c", "b"]).await;
    let first = async |of: &str| world.page(of, None, 1).await.rows.remove(0);
    let row = first("bob").await;
    assert_eq!((row.unread, row.mentions, row.read, row.head), (2, 1, Seq::ZERO, Seq(6)));
    assert_eq!(row.last.map(|event| event.seq), Some(Seq(6)));
    assert_eq!(first("alice").await.unread, 1);
    world.engine.mark(&room("a"), &user("bob"), Cursor::from(Seq(4))).await.unwrap();
    let row = first("bob").await;
    assert_eq!((row.unread, row.mentions, row.read), (1, 0, Seq(4)));
    assert!(world.names("stranger").await.is_empty());
    world.stop().await;
}

#[tokio::test]
async fn pages_have_each_conversation_once_in_order_and_the_pinned_ones_first() {
    let world = World::new();
    let names: Vec<_> = (0..25).map(|n| format!("room {n:02}")).collect();
    for name in &names {
        world.clock.advance(10);
        world.group(&room(name), "alice", &["bob"]).await;
    }
    for pinned in ["room 03", "room 07"] {
        let settings = Settings { pinned: true, ..Settings::default() };
        world.engine.set_inbox(&grant("bob"), &room(pinned), settings).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut after = None;
    for _ in 0..10 {
        let page = world.page("bob", after.as_deref(), 7).await;
        assert!(page.rows.len() <= 7);
        listed.extend(page.rows.into_iter().map(|row| (row.conversation.to_string(), row.pinned)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let pinned = ["room 07", "room 03"].map(str::to_owned);
    let others = names.iter().rev().filter(|name| !pinned.contains(name)).cloned();
    let expected: Vec<_> =
        pinned.iter().cloned().map(|name| (name, true)).chain(others.map(|name| (name, false))).collect();
    assert_eq!(listed, expected);
    assert_eq!(world.engine.inbox_page(&grant("bob"), Some("x"), 7).await.unwrap(), None, "no end of a page");
    let narrowed = Arc::new(Grant { read: Some(Vec::new()), ..Grant::of_membership(user("bob")) });
    let page = world.engine.inbox_page(&narrowed, None, 50).await.unwrap().unwrap();
    assert!(page.rows.is_empty(), "the token is for other conversations");
    world.stop().await;
}

#[tokio::test]
async fn so_many_are_pinned_and_no_more() {
    let world = World::new();
    let pin = Settings { pinned: true, ..Settings::default() };
    for n in 0..=INBOX_PINNED_MAX {
        world.group(&room(&n.to_string()), "alice", &[]).await;
        let pinned = world.engine.set_inbox(&grant("alice"), &room(&n.to_string()), pin).await;
        match pinned {
            Ok(done) => assert!(n < INBOX_PINNED_MAX && done.conversation.is_me()),
            Err(refusal) => assert_eq!((n, refusal.code), (INBOX_PINNED_MAX, Code::TOO_MANY)),
        }
    }
    let archive = Settings { archived: true, ..pin };
    world.engine.set_inbox(&grant("alice"), &room("0"), archive).await.unwrap();
    assert_eq!(world.page("alice", None, 50).await.rows.len(), INBOX_PINNED_MAX + 1);
    world.stop().await;
}

#[tokio::test]
async fn the_first_page_costs_the_same_of_ten_thousand_conversations() {
    let mut reads = Vec::new();
    for conversations in [60, 10_000] {
        let world = World::new();
        let names: Vec<_> = (0..conversations).map(|n| room(&format!("room {n}"))).collect();
        for names in names.chunks(256) {
            world.clock.advance(1);
            let groups = names.iter().map(|name| world.group(name, "alice", &[]));
            futures_util::future::join_all(groups).await;
        }
        // States are loaded once.
        world.page("alice", None, 50).await;
        world.told.read.store(0, Ordering::SeqCst);
        assert_eq!(world.page("alice", None, 50).await.rows.len(), 50);
        reads.push(world.told.read.load(Ordering::SeqCst));
        world.stop().await;
    }
    assert_eq!(reads[0], reads[1], "rows that were read");
    assert!(reads[0] < 50 * 12, "{reads:?}");
}

#[tokio::test]
async fn who_watches_is_told_of_each_change_once_and_the_latest_counts() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    world.group(&room("other"), "alice", &[]).await;
    let (watch, second) = (world.engine.watch_inbox(&user("bob")), world.engine.watch_inbox(&user("bob")));
    // What was not told of before the watch began.
    world.settled().await;
    for _ in 0..100 {
        world.publish(&room("a"), "alice", &[]).await;
        world.publish(&room("other"), "alice", &[]).await;
    }
    for watch in [&watch, &second] {
        let (mut batches, mut unread) = (0, 0);
        while unread < 100 {
            let rows = rows(watch, &world.engine, "bob").await;
            assert!(rows.iter().all(|row| row.conversation == room("a") && row.unread >= unread));
            (batches, unread) = (batches + 1, rows[0].unread);
        }
        assert!(batches < 100, "{batches} batches for 100 messages");
    }
    world.engine.mark(&room("a"), &user("bob"), Cursor::from(Seq(50))).await.unwrap();
    while rows(&second, &world.engine, "bob").await[0].read != Seq(50) {}
    world.clock.advance(1_000);
    let leave = world.engine.change(caller("bob"), &room("a"), Change::Leave).await.unwrap();
    world.publish(&room("a"), "alice", &[]).await;
    let row = loop {
        let row = rows(&watch, &world.engine, "bob").await.remove(0);
        if row.gone {
            break row;
        }
    };
    assert!(
        leave.seq > Seq::ZERO && row.last.is_none() && row.title.is_empty() && row.unread == 0,
        "{row:?}"
    );
    world.listed("bob", &[]).await;
    drop((watch, second));
    world.stop().await;
}

#[tokio::test]
async fn who_comes_back_is_told_what_has_changed_or_to_begin_anew() {
    let mut world = World::new();
    let old = 200;
    for n in 0..old {
        world.group(&room(&format!("old {n}")), "alice", &["bob"]).await;
    }
    let more = ["deleted", "edited", "kept", "titled", "untouched"];
    for name in ["written", "read", "set", "left"].into_iter().chain(more) {
        world.group(&room(name), "alice", &["bob"]).await;
        world.publish(&room(name), "alice", &[]).await;
    }
    world.settled().await;
    world.clock.advance(1_000_000);
    let since = world.page("bob", None, 1).await.version;
    world.clock.advance(1_000_000);
    world.publish(&room("written"), "alice", &[]).await;
    world.engine.mark(&room("read"), &user("bob"), Cursor::from(Seq(4))).await.unwrap();
    let archived = Settings { archived: true, ..Settings::default() };
    world.engine.set_inbox(&grant("bob"), &room("set"), archived).await.unwrap();
    world.engine.change(caller("bob"), &room("left"), Change::Leave).await.unwrap();
    world.group(&room("new"), "alice", &["bob"]).await;
    // What moves nothing changes rows all the same.
    let edit = Alteration::Edit { body: Bytes::from_static(b"again"), mentions: Vec::new() };
    for (name, what) in [("edited", edit), ("deleted", Alteration::Revoke)] {
        world.engine.alter(caller("alice"), &room(name), Seq(4), what).await.unwrap();
    }
    let title = Change::Rename { title: "Title".to_owned() };
    world.engine.change(caller("alice"), &room("titled"), title).await.unwrap();
    let kept = Retention { count: 1, ..Retention::default() };
    world.engine.retain(caller("alice"), &room("kept"), Retain::Policy(kept)).await.unwrap();
    world.settled().await;
    let watch = world.engine.watch_inbox(&user("bob"));
    let told = watch.tell_since(&world.engine, Some(since)).await.unwrap();
    assert_eq!(told, Since { version: since, complete: true }, "it is still to come");
    let told = batch(&watch, &world.engine, "bob").await;
    let known: Vec<_> = told.iter().map(|(known, _)| *known).collect();
    let (last, before) = known.split_last().unwrap();
    assert!(*last == world.clock.unix_ms() && before.iter().all(|known| *known == since), "{known:?}");
    let mut rows: Vec<_> = told.into_iter().map(|(_, row)| row).collect();
    rows.sort_by(|one, other| one.conversation.cmp(&other.conversation));
    let names: Vec<_> = rows.iter().map(|row| row.conversation.as_str()).collect();
    assert_eq!(names, ["deleted", "edited", "kept", "left", "new", "read", "set", "titled", "written"]);
    assert!(rows[0].last.is_none() && rows[0].unread == 0 && rows[2].unread == 0, "{rows:?}");
    assert!(rows[3].gone && rows[5].unread == 0 && rows[6].archived && rows[8].unread == 2, "{rows:?}");
    assert_eq!(rows[7].title, "Title");
    assert!(rows.iter().all(|row| row.version > since));
    // So many that it is better to begin anew.
    let groups = (0..=INBOX_CHANGES_MAX).map(|n| room(&format!("more {n}"))).collect::<Vec<_>>();
    futures_util::future::join_all(groups.iter().map(|name| world.group(name, "alice", &["bob"]))).await;
    let told = watch.tell_since(&world.engine, Some(since)).await.unwrap();
    assert_eq!(told, Since { version: world.clock.unix_ms(), complete: false });
    drop(watch);
    world.stop().await;
}

#[tokio::test]
async fn what_was_not_told_when_a_connection_broke_is_told_on_the_next_one() {
    let mut world = World::new();
    let rooms: Vec<_> = (0..100).map(|n| room(&format!("{n:03}"))).collect();
    for name in &rooms {
        world.group(name, "alice", &["bob"]).await;
    }
    world.settled().await;
    world.clock.advance(1_000_000);
    let since = world.page("bob", None, 1).await.version;
    world.clock.advance(1_000_000);
    for name in &rooms {
        world.publish(name, "alice", &[]).await;
    }
    world.settled().await;
    world.clock.advance(1_000_000);
    let (mut missing, mut known) = (rooms.iter().cloned().collect::<BTreeSet<_>>(), since);
    // Each connection breaks behind as many rows as are made at once, and within the ones behind them.
    let mut connections = 0;
    while !missing.is_empty() {
        connections += 1;
        let watch = world.engine.watch_inbox(&user("bob"));
        let told = watch.tell_since(&world.engine, Some(known)).await.unwrap();
        assert!(told.complete && (told.version <= known || missing.is_empty()), "{told:?} of {known}");
        let mut rows = batch(&watch, &world.engine, "bob").await;
        if connections % 2 == 0 {
            rows.extend(batch(&watch, &world.engine, "bob").await);
            // A part of the application that begins to watch takes nothing from another one.
            let second = world.engine.watch_inbox(&user("bob"));
            second.take_over(&watch);
            let told = second.tell_since(&world.engine, None).await.unwrap();
            assert!(told.version <= known, "{told:?} of {known}");
            let under_way = rows[rows.len() - 1].1.conversation.clone();
            let mut again = Vec::new();
            while again.len() < rooms.len() - 32 {
                again.extend(batch(&second, &world.engine, "bob").await);
            }
            assert!(again.iter().any(|(_, row)| row.conversation == under_way), "it may be lost");
            rows.extend(again);
        }
        for (to, row) in rows {
            missing.remove(&row.conversation);
            known = known.max(to);
        }
        assert!(missing.is_empty() || known == since, "{} are missing behind {known}", missing.len());
    }
    assert!(connections == 2 && known == world.clock.unix_ms(), "{connections} connections, {known}");
    world.stop().await;
}

#[tokio::test]
async fn who_has_left_and_comes_back_has_it_in_the_list_again() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let pinned = Settings { pinned: true, muted_until_ms: u64::MAX, archived: true };
    world.engine.set_inbox(&grant("bob"), &room("a"), pinned).await.unwrap();
    for _ in 0..20 {
        world.engine.change(caller("bob"), &room("a"), Change::Leave).await.unwrap();
        let set = Change::SetMember { user: user("bob"), role: MemberRole::Member, permissions: None };
        world.engine.change(caller("alice"), &room("a"), set).await.unwrap();
    }
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("a"), "alice", &[]).await;
    world.settled().await;
    world.listed("bob", &["a"]).await;
    let row = world.page("bob", None, 9).await.rows.remove(0);
    assert!(!row.pinned && !row.archived && row.muted_until_ms == 0, "what was wanted of it is over");
    world.stop().await;
}
