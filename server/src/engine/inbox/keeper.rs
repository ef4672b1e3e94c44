//! The one task that stores cursors, moves lists, and tells whoever is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quoth_core::inbox::{DUE, Entry, MOVED_MEMBERS_MAX, conversation_of, due_key, over};
use quoth_core::receipts::{Cursor, Due, key_of};
use quoth_protocol::{ConversationName, UserId};
use quoth_store::{Register, View, ViewError};

use super::pages::entry;
use super::receipts::{cursor, is_small};
use super::{Inbox, Mark, Own, Written};
use crate::engine::committer::concerns_one_conversation;
use crate::engine::states::KnownConversation;
use crate::engine::workers::Worker;
use crate::engine::{Engine, Inner};

/// How long what is to be done gathers, in milliseconds: one record of a conversation then has the cursors of many.
const GATHER: Duration = Duration::from_millis(50);

/// How often an entry says anew that its user has read something, in milliseconds.
const READ_INTERVAL_MS: u64 = quoth_core::inbox::MOVE_INTERVAL_MS;

/// Conversations of before that are moved at the start in one go.
const DUE_PAGE: usize = 100_000;

/// How often those who watch are told of one conversation that does not move in lists, in milliseconds: of thousands of members each would
/// have a row made for each message.
const LARGE_INTERVAL_MS: u64 = 1_000;

/// When large conversations may be told of again, in milliseconds since 1970, and those that are to be then.
#[derive(Debug, Default)]
struct Large(BTreeMap<ConversationName, (u64, Option<Arc<KnownConversation>>)>);

impl Large {
    /// Whether a conversation is told of now; otherwise it is later.
    fn takes(&mut self, name: &ConversationName, known: &Arc<KnownConversation>, now_ms: u64) -> bool {
        match self.0.get_mut(name) {
            Some((next_ms, later)) if *next_ms > now_ms => {
                *later = Some(Arc::clone(known));
                false
            }
            _ => {
                self.0.insert(name.clone(), (now_ms.saturating_add(LARGE_INTERVAL_MS), None));
                true
            }
        }
    }

    fn due_ms(&self) -> Option<u64> {
        self.0.values().filter(|(_, later)| later.is_some()).map(|(next_ms, _)| *next_ms).min()
    }

    /// Those that are due, and forgets those that nothing has happened in.
    fn take(&mut self, now_ms: u64) -> Vec<(ConversationName, Arc<KnownConversation>)> {
        let mut due = Vec::new();
        self.0.retain(|name, (next_ms, later)| {
            if *next_ms <= now_ms {
                due.extend(later.take().map(|known| (name.clone(), known)));
            }
            *next_ms > now_ms
        });
        due
    }
}

/// What is done in one round.
#[derive(Debug, Default)]
struct Round {
    now_ms: u64,
    written: BTreeMap<ConversationName, Written>,
    own: BTreeSet<Own>,
    cursors: Vec<Due>,
}

/// What a round comes to.
#[derive(Debug, Default)]
struct Plan {
    /// Registers of users' own logs, then of conversations, then of the server's own log.
    notes: Vec<(ConversationName, Vec<Register>)>,
    /// Cursors that are further than before.
    moved: Vec<Due>,
    /// Those that are what they are to be.
    known: Vec<Due>,
    /// Those that cannot be stored: what is stored already does not decode.
    damaged: Vec<Due>,
}

/// Keeps cursors and lists for as long as the engine lives and its store takes something.
pub(in crate::engine) async fn keep(inbox: Arc<Inbox>, engine: Weak<Inner>, worker: Worker) {
    let upgraded = || engine.upgrade().map(|inner| Engine { inner, worker: worker.clone() });
    let mut result = match upgraded() {
        Some(engine) => restore(&engine).await,
        None => return,
    };
    let mut large = Large::default();
    while result.is_ok() {
        wait(&inbox, large.due_ms(), upgraded().map(|engine| engine.now_ms())).await;
        tokio::time::sleep(GATHER).await;
        let Some(engine) = upgraded() else { return };
        let mut failure = engine.failure();
        // What has failed is waited for in vain, and the engine is held meanwhile.
        result = tokio::select! {
            result = round(&inbox, &mut large, &engine) => result,
            _ = failure.wait_for(Option::is_some) => Err("the store failed".to_owned()),
        };
    }
    let error = result.err().unwrap_or_default();
    tracing::error!(error, "what users have read is kept no more, and their lists are as they were");
    let mut waiting = inbox.waiting.lock();
    waiting.has_failed = true;
    waiting.marks.clear();
    waiting.settled.clear();
}

/// Waits until there is something to do.
async fn wait(inbox: &Inbox, large_due_ms: Option<u64>, now_ms: Option<u64>) {
    let due_ms = inbox.cursors.lock().due_ms().into_iter().chain(large_due_ms).min();
    match due_ms.zip(now_ms) {
        Some((due_ms, now_ms)) => {
            let wait = Duration::from_millis(due_ms.saturating_sub(now_ms));
            let _sooner_or_not = tokio::time::timeout(wait, inbox.rung.notified()).await;
        }
        None => inbox.rung.notified().await,
    }
}

/// Conversations that were to be moved before the last end come again.
async fn restore(engine: &Engine) -> Result<(), String> {
    let inbox = &engine.inner.inbox;
    let rows = engine.registers(ConversationName::server(), &[DUE], DUE_PAGE).await;
    for (key, value) in rows.map_err(|error| error.to_string())? {
        let Some(name) = conversation_of(&key) else { continue };
        let known = match engine.state(&name).await {
            Ok(known) => known,
            Err(error) if concerns_one_conversation(&error) => {
                tracing::error!(%error, "a conversation is not moved in its members' lists");
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let time: Option<[u8; 8]> = value.as_ref().try_into().ok();
        let moves_to_ms = Some(time.map_or_else(|| engine.now_ms(), u64::from_be_bytes));
        inbox.written(vec![(name, Written { known, moves_to_ms })], Vec::new());
    }
    Ok(())
}

async fn round(inbox: &Arc<Inbox>, large: &mut Large, engine: &Engine) -> Result<(), String> {
    let now_ms = engine.now_ms();
    let (written, own, settled) = {
        let mut waiting = inbox.waiting.lock();
        let settled = std::mem::take(&mut waiting.settled);
        (std::mem::take(&mut waiting.written), std::mem::take(&mut waiting.own), settled)
    };
    tell(inbox, large, &written, &own, now_ms);
    let cursors = {
        let mut cursors = inbox.cursors.lock();
        if settled.is_empty() { cursors.take(now_ms) } else { cursors.take_all(now_ms) }
    };
    let round = Round { now_ms, written, own, cursors };
    engine.inner.reads.applied(engine.released()).await;
    let planner = Arc::clone(inbox);
    let plan = engine.inner.reads.run(move |view| plan(view, &planner, &round)).await;
    let Plan { notes, moved, known, damaged } = plan.map_err(|error| error.to_string())?;
    engine.note_all(notes).await?;
    let position = engine.released().0;
    {
        let mut cursors = inbox.cursors.lock();
        for Due { conversation, user, cursor } in moved.iter().chain(&known) {
            cursors.stored(conversation, user, *cursor, position);
        }
    }
    for due in &moved {
        tell_cursor(inbox, engine, due, now_ms).await;
    }
    answer(inbox, &damaged);
    inbox.cursors.lock().forget(engine.inner.reads.applied_position().0, now_ms);
    for settled in settled {
        let _nobody_waits_any_more = settled.send(());
    }
    Ok(())
}

/// Those who watch lists in which something has changed.
fn tell(
    inbox: &Inbox,
    large: &mut Large,
    written: &BTreeMap<ConversationName, Written>,
    own: &BTreeSet<Own>,
    now_ms: u64,
) {
    for (name, known) in large.take(now_ms) {
        if large.takes(&name, &known, now_ms)
            && let Some(state) = &*known.read()
        {
            inbox.watchers.changed_for_all(state, &name, now_ms);
        }
    }
    for (name, Written { known, .. }) in written {
        if let Some(state) = &*known.read()
            && (state.members_count() <= MOVED_MEMBERS_MAX || large.takes(name, known, now_ms))
        {
            inbox.watchers.changed_for_all(state, name, now_ms);
        }
    }
    for Own { user, conversation, .. } in own {
        inbox.watchers.changed(user, conversation, now_ms);
    }
}

/// A user's cursor is stored: it is told to the user's devices, and to those who read the conversation if they are few.
async fn tell_cursor(inbox: &Inbox, engine: &Engine, due: &Due, now_ms: u64) {
    let Due { conversation, user, cursor } = due;
    inbox.watchers.changed(user, conversation, now_ms);
    let readers = engine.readers(conversation);
    if readers.is_empty() {
        return;
    }
    // One that cannot be read now is told nothing; what is stored is asked for by whoever comes.
    let is_small = engine.with_state(conversation, is_small).await.unwrap_or(false);
    let blocks = match engine.user(user).await {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(%error, %user, "how far the user has read is not told, since it cannot be read who may know it");
            return;
        }
    };
    let mut has_seen = false;
    for reader in &readers {
        if reader.user() == user {
            has_seen |= reader.set_seen(cursor.read);
        }
        let may_know = is_small && !blocks.read().blocks(reader.user());
        if may_know && reader.put_receipt(user, *cursor) {
            reader.wake();
        }
    }
    if has_seen {
        engine.inner.rosters.change(conversation);
    }
}

/// Answers those whose cursors are stored, and lets go of those whose cursors cannot be.
fn answer(inbox: &Inbox, damaged: &[Due]) {
    let mut waiting = inbox.waiting.lock();
    let marks = std::mem::take(&mut waiting.marks);
    let cursors = inbox.cursors.lock();
    for mark in marks {
        let Mark { conversation, user, cursor, .. } = &mark;
        if cursors.recent(conversation, user).unwrap_or_default().covers(*cursor) {
            let _nobody_waits_any_more = mark.stored.send(());
        } else if !damaged.iter().any(|due| due.conversation == *conversation && due.user == *user) {
            waiting.marks.push(mark);
        }
    }
}

/// Entries of users' lists that are read once and written once.
struct Entries<'a> {
    view: &'a dyn View,
    changed: BTreeMap<(UserId, ConversationName), (Option<Entry>, Option<Entry>)>,
}

impl Entries<'_> {
    /// Changes an entry.
    fn change(
        &mut self,
        user: &UserId,
        name: &ConversationName,
        change: impl FnOnce(Option<Entry>) -> Option<Entry>,
    ) -> Result<(), ViewError> {
        let key = (user.clone(), name.clone());
        if !self.changed.contains_key(&key) {
            let before = entry(self.view, &ConversationName::of_user(user), name)?;
            self.changed.insert(key.clone(), (before, before));
        }
        if let Some((_, after)) = self.changed.get_mut(&key) {
            *after = change(*after);
        }
        Ok(())
    }

    /// The registers that come of it, for each user's own log.
    fn notes(self) -> BTreeMap<UserId, Vec<Register>> {
        let mut notes: BTreeMap<UserId, Vec<Register>> = BTreeMap::new();
        for ((user, name), (before, after)) in self.changed {
            let changes = match (before, after) {
                (before, Some(after)) if before != Some(after) => {
                    before.unwrap_or_default().replaced(after, &name)
                }
                (Some(before), None) => over(before, &name),
                (None | Some(_), None | Some(_)) => continue,
            };
            let registers = changes
                .into_iter()
                .map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
            notes.entry(user).or_default().extend(registers);
        }
        notes
    }
}

fn plan(view: &dyn View, inbox: &Inbox, round: &Round) -> Result<Plan, ViewError> {
    let mut plan = Plan::default();
    let mut entries = Entries { view, changed: BTreeMap::new() };
    let mut of_server = Vec::new();
    for (name, written) in &round.written {
        let Some(time_ms) = written.moves_to_ms else { continue };
        or_damaged(move_in_lists(&mut entries, name, written, time_ms))?;
        of_server.push(Register { key: due_key(name).into(), value: None });
    }
    for own in round.own.iter().filter(|own| own.has_left) {
        let comes_back = round.written.get(&own.conversation).is_some_and(|written| {
            written.known.read().as_ref().is_some_and(|state| state.present(&own.user).is_some())
        });
        if !comes_back {
            or_damaged(entries.change(&own.user, &own.conversation, |_| None))?;
        }
    }
    let mut of_conversations: BTreeMap<&ConversationName, Vec<Register>> = BTreeMap::new();
    for due in &round.cursors {
        let Due { conversation, user, cursor: wanted } = due;
        let recent = inbox.cursors.lock().recent(conversation, user).unwrap_or_default();
        let Some(stored) = or_damaged(cursor(view, conversation, user))? else {
            plan.damaged.push(due.clone());
            continue;
        };
        let stored = stored.merged(recent);
        let merged = Due { cursor: stored.merged(*wanted), ..due.clone() };
        if stored == merged.cursor {
            plan.known.push(merged);
            continue;
        }
        // Where there is none the conversation is in no list.
        or_damaged(entries.change(user, conversation, |entry| {
            let entry = entry?;
            let is_known = round.now_ms.saturating_sub(entry.read_ms) < READ_INTERVAL_MS;
            let read_ms = if is_known { entry.read_ms } else { round.now_ms };
            Some(Entry { read_ms, ..entry })
        }))?;
        of_conversations.entry(conversation).or_default().push(cursor_register(user, merged.cursor));
        plan.moved.push(merged);
    }
    // What tells that something has changed comes before what has.
    let of_users = entries.notes().into_iter().map(|(user, notes)| (ConversationName::of_user(&user), notes));
    plan.notes.extend(of_users);
    plan.notes.extend(of_conversations.into_iter().map(|(name, registers)| (name.clone(), registers)));
    if !of_server.is_empty() {
        plan.notes.push((ConversationName::server(), of_server));
    }
    Ok(plan)
}

/// Damage of one conversation, or of one user's log, keeps nothing else from being done.
fn or_damaged<T>(result: Result<T, ViewError>) -> Result<Option<T>, ViewError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if concerns_one_conversation(&error) => {
            tracing::error!(%error, "how far somebody has read, or a list, is not kept");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn cursor_register(user: &UserId, cursor: Cursor) -> Register {
    Register { key: key_of(user).into(), value: Some(cursor.encode().into()) }
}

/// Moves a conversation in its members' lists, or to those that are looked at each time.
fn move_in_lists(
    entries: &mut Entries<'_>,
    name: &ConversationName,
    written: &Written,
    time_ms: u64,
) -> Result<(), ViewError> {
    let state = written.known.read();
    let Some(state) = state.as_ref() else { return Ok(()) };
    let is_large = state.members_count() > MOVED_MEMBERS_MAX;
    if is_large && written.known.is_large() {
        return Ok(());
    }
    for (user, ..) in state.members_after(None) {
        // One that is missing was ended by who came back a moment ago.
        entries.change(user, name, |entry| {
            let entry = entry.unwrap_or_default();
            let moved_ms = if is_large { 0 } else { entry.moved_ms.max(time_ms) };
            Some(Entry { moved_ms, ..entry })
        })?;
    }
    written.known.set_large(is_large);
    Ok(())
}
