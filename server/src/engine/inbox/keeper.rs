//! The one task that stores cursors, moves lists, and has it told to whoever is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quoth_core::inbox::{CHANGE_DUE, DUE, conversation_of};
use quoth_core::receipts::Due;
use quoth_protocol::{ConversationName, Seq};
use tokio::sync::oneshot;

use super::moves::Move;
use super::plan::{Marked, Plan, Work, plan};
use super::tell::{Large, tell_cursors, tell_lists};
use super::{Inbox, Mark, Now, Own, Written};
use crate::engine::workers::Worker;
use crate::engine::{Engine, Inner};

/// How long what is to be done gathers, in milliseconds: one record of a conversation then has the cursors of
/// many.
const GATHER: Duration = Duration::from_millis(50);

/// How long it takes to try again what could not be stored.
const RETRY: Duration = Duration::from_secs(1);

/// Cursors of one round. Those of a conversation are one record, and the others wait.
const CURSORS_MAX: usize = 4_096;

/// Conversations of before that are read at once at the start.
const DUE_PAGE: usize = 1_000;

/// What is done in one round.
#[derive(Debug, Default)]
struct Round {
    written: BTreeMap<ConversationName, Written>,
    own: BTreeSet<Own>,
    cursors: Vec<Marked>,
}

impl Round {
    /// It by its values, as they are now.
    fn work(&self, now_ms: u64) -> Work {
        let listed = self.written.iter().filter(|(_, Written { moves_to_ms, changed_ms, .. })| {
            moves_to_ms.is_some() || changed_ms.is_some()
        });
        let moves = listed.map(|(name, Written { known, moves_to_ms, changed_ms })| {
            let state = known.read();
            Move::new(name.clone(), state.as_ref(), known.stands_large(), (*moves_to_ms, *changed_ms))
        });
        let left = self.own.iter().filter(|own| own.has_left && !self.comes_back(own));
        Work {
            now_ms,
            moves: moves.collect(),
            left: left.map(|own| (own.user.clone(), own.conversation.clone())).collect(),
            cursors: self.cursors.clone(),
        }
    }

    /// Whether a user who has left a conversation is there again.
    fn comes_back(&self, own: &Own) -> bool {
        self.written.get(&own.conversation).is_some_and(|written| {
            written.known.read().as_ref().is_some_and(|state| state.present(&own.user).is_some())
        })
    }

    /// It is stored that these conversations stand among the large ones.
    fn stand(&self, large: &[(ConversationName, Seq)]) {
        for (name, version) in large {
            if let Some(Written { known, .. }) = self.written.get(name) {
                known.set_large(*version);
            }
        }
    }
}

/// Keeps cursors and lists for as long as the engine lives and its store takes something.
pub(in crate::engine) async fn keep(inbox: Arc<Inbox>, engine: Weak<Inner>, worker: Worker) {
    let upgraded = || engine.upgrade().map(|inner| Engine { inner, worker: worker.clone() });
    let mut result = match upgraded() {
        Some(engine) => unless_failed(&engine, restore(&engine)).await,
        None => return,
    };
    let mut large = Large::default();
    while result.is_ok() {
        wait(&inbox, large.due_ms(), upgraded().map(|engine| engine.elapsed_ms())).await;
        tokio::time::sleep(GATHER).await;
        let Some(engine) = upgraded() else { return };
        result = unless_failed(&engine, round(&inbox, &mut large, &engine)).await;
    }
    let error = result.err().unwrap_or_default();
    tracing::error!(error, "what users have read is kept no more, and their lists are as they were");
    let mut waiting = inbox.waiting.lock();
    waiting.has_failed = true;
    waiting.marks.clear();
    waiting.settled.clear();
}

/// Does something as long as the store has not failed, which would be waited for in vain. The engine is held
/// meanwhile.
async fn unless_failed(
    engine: &Engine,
    work: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let mut failure = engine.failure();
    tokio::select! {
        done = work => done,
        _ = failure.wait_for(Option::is_some) => Err("the store failed".to_owned()),
    }
}

/// Waits until there is something to do.
async fn wait(inbox: &Inbox, large_due_ms: Option<u64>, elapsed_ms: Option<u64>) {
    let due_ms = inbox.cursors.lock().due_ms().into_iter().chain(large_due_ms).min();
    match due_ms.zip(elapsed_ms) {
        Some((due_ms, elapsed_ms)) => {
            let wait = Duration::from_millis(due_ms.saturating_sub(elapsed_ms));
            let _sooner_or_not = tokio::time::timeout(wait, inbox.rung.notified()).await;
        }
        None => inbox.rung.notified().await,
    }
}

/// Conversations that were to be moved before the last end come again, or to be said to have changed.
async fn restore(engine: &Engine) -> Result<(), String> {
    for (kind, prefix) in [(DUE, &[DUE]), (CHANGE_DUE, &[CHANGE_DUE])] {
        let mut behind = None;
        loop {
            let rows = engine.registers_after(ConversationName::server(), prefix, behind, DUE_PAGE).await;
            let rows = rows.map_err(|error| error.to_string())?;
            for (key, value) in &rows {
                restore_one(engine, kind, key, value).await?;
            }
            match rows.last() {
                Some((key, _)) if rows.len() == DUE_PAGE => behind = Some(key.clone()),
                _ => break,
            }
        }
    }
    Ok(())
}

async fn restore_one(engine: &Engine, kind: u8, key: &[u8], value: &[u8]) -> Result<(), String> {
    let Some(name) = conversation_of(key) else { return Ok(()) };
    let known = match engine.state(&name).await {
        Ok(known) => known,
        Err(error) if error.concerns_one_conversation() => {
            tracing::error!(%error, "a conversation is not moved in its members' lists");
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let time: Option<[u8; 8]> = value.try_into().ok();
    let time_ms = Some(time.map_or_else(|| engine.judged_ms(), u64::from_be_bytes));
    let written = match kind {
        DUE => Written { known, moves_to_ms: time_ms, changed_ms: None },
        _ => Written { known, moves_to_ms: None, changed_ms: time_ms },
    };
    engine.inner.inbox.written(vec![(name, written)], Vec::new());
    Ok(())
}

/// Takes what waits, plans what comes of it, stores that, and only then lets it be true.
async fn round(inbox: &Arc<Inbox>, large: &mut Large, engine: &Engine) -> Result<(), String> {
    let now = Now::of(engine);
    let (written, own, settled) = {
        let mut waiting = inbox.waiting.lock();
        let settled = std::mem::take(&mut waiting.settled);
        (std::mem::take(&mut waiting.written), std::mem::take(&mut waiting.own), settled)
    };
    tell_lists(inbox, large, &written, &own, now);
    let cursors = {
        let mut cursors = inbox.cursors.lock();
        let due = match settled.is_empty() {
            true => cursors.take(now.elapsed_ms, CURSORS_MAX),
            false => cursors.take_early(now.elapsed_ms, CURSORS_MAX),
        };
        // Before the view, which has what is forgotten here. Only this task stores any.
        let recent = |due: &Due| cursors.recent(&due.conversation, &due.user).unwrap_or_default();
        due.into_iter().map(|due| Marked { recent: recent(&due), due }).collect()
    };
    let round = Round { written, own, cursors };
    engine.inner.reads.applied(engine.released()).await;
    let work = round.work(now.judged_ms);
    let planned = engine.inner.reads.run(move |view| plan(view, &work)).await;
    let Plan { notes, done, large: stand_large, moved, known, lost, damage } =
        planned.map_err(|error| error.to_string())?;
    for error in damage {
        tracing::error!(%error, "how far somebody has read, or a list, is not kept");
    }
    if let Err(error) = engine.note_all(notes).await {
        tracing::warn!(
            error,
            "what users have read is not stored now, and lists are not moved: it is tried again"
        );
        take_back(inbox, round);
        return Ok(());
    }
    round.stand(&stand_large);
    let position = engine.released().0;
    {
        let mut cursors = inbox.cursors.lock();
        for Due { conversation, user, cursor } in moved.iter().chain(&known) {
            cursors.stored(conversation, user, *cursor, position);
        }
    }
    tell_cursors(inbox, engine, &moved, now).await;
    answer(inbox, &lost);
    inbox.cursors.lock().forget(engine.inner.reads.applied_position().0, now.elapsed_ms);
    // Not with the others: while the disk is full some are refused and others are not.
    if !done.is_empty() && engine.note(ConversationName::server(), done).await.is_err() {
        take_back(inbox, Round { written: round.written, ..Round::default() });
    }
    settle(inbox, settled);
    Ok(())
}

/// Answers those who wait until no cursor has to be stored, if none has to be.
fn settle(inbox: &Inbox, settled: Vec<oneshot::Sender<()>>) {
    if inbox.cursors.lock().due_ms().is_none() {
        for settled in settled {
            let _nobody_waits_any_more = settled.send(());
        }
    } else if !settled.is_empty() {
        inbox.waiting.lock().settled.extend(settled);
        inbox.rung.notify_one();
    }
}

/// What was not stored is done in a later round. Who waits for it is told that it is not.
fn take_back(inbox: &Arc<Inbox>, round: Round) {
    let lost: Vec<_> = round.cursors.into_iter().map(|marked| marked.due).collect();
    answer(inbox, &lost);
    let mut cursors = inbox.cursors.lock();
    for Due { conversation, user, cursor } in lost {
        cursors.want(&conversation, &user, cursor);
    }
    drop(cursors);
    let mut waiting = inbox.waiting.lock();
    for (name, written) in round.written {
        waiting.add(name, written);
    }
    waiting.own.extend(round.own);
    drop(waiting);
    let again = Arc::clone(inbox);
    tokio::spawn(async move {
        tokio::time::sleep(RETRY).await;
        again.rung.notify_one();
    });
}

/// Answers those whose cursors are stored, and lets go of those whose cursors cannot be.
fn answer(inbox: &Inbox, lost: &[Due]) {
    let mut waiting = inbox.waiting.lock();
    let marks = std::mem::take(&mut waiting.marks);
    let cursors = inbox.cursors.lock();
    for mark in marks {
        let Mark { conversation, user, cursor, .. } = &mark;
        if cursors.recent(conversation, user).unwrap_or_default().covers(*cursor) {
            let _nobody_waits_any_more = mark.stored.send(());
        } else if !lost.iter().any(|due| due.conversation == *conversation && due.user == *user) {
            waiting.marks.push(mark);
        }
    }
}
