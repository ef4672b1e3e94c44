//! The view in fjall, an LSM store. Nothing outside this module names it.
//!
//! # Its journal is not used
//!
//! fjall has a write-ahead log of its own. A flipped bit in there can drop or reorder later writes without an
//! error, since its checksums leave out the batches' sequence numbers and a broken batch counts as the end.
//! The view needs no second log: whatever is not in fjall's tables yet is in ours. So nothing is written
//! there (`engine.rs`), and whatever stands in it is emptied by `open`. `flush` brings everything into tables
//! and then writes the **checkpoint**, a small file with the last position of which that holds; `open` goes
//! on from it. Groups behind it are applied again, and give the rows once more that may be there already
//! (`flush.rs`). fjall's tables have checksums of their own; `precheck.rs` has what its manifests need.
//!
//! # Rows
//!
//! - `messages`, one for each retention class: window, conversation key and seq of the last message → a run
//!   of consecutive messages; a group has one or few for each conversation and block of seqs, and a flush
//!   makes one of those that follow one another. `run.rs`, `window.rs` and `pack.rs` say why.
//! - `windows`: class and number of a window → what is known of it without reading it; `tally.rs`.
//! - `spans`: conversation key and first seq → the window that has the messages from there on, or that they
//!   were reclaimed; one per conversation and window.
//! - `producers`: conversation key, producer key and block of seqs → n and seq of the producer's last message
//!   in that block; written once per group, producer and block. `find.rs` says what the blocks are for.
//! - `conversations`: conversation key → name, and whether it has events; one per conversation, written with
//!   its first event or register.
//! - `registers`: conversation key and register key → value; `registers.rs`.
//!
//! All rows of a group are written in one batch, and reads of several rows go through a snapshot, so a reader
//! sees whole groups. A conversation's head is its last row. `row.rs` has the bytes.

mod candidates;
mod check;
mod checkpoint;
mod compactor;
mod conversations;
mod copy;
mod cut;
mod engine;
mod erase;
mod find;
mod flush;
mod grouped;
mod listed;
mod pack;
mod pin;
mod precheck;
mod purge;
mod read;
mod reclaim;
mod registers;
mod rewrite;
mod row;
mod run;
mod sweep;
mod tables;
mod tally;
#[cfg(test)]
mod tests;
mod unfinished;
mod window;
mod writing;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_protocol::{ConversationName, Seq};
use tempfile::TempDir;

pub(crate) use self::check::Stored;
use self::checkpoint::{Checkpoint, Flushed, OpenWindow};
use self::compactor::Compactor;
use self::engine::{Batch, Engine, Snapshot, engine_error};
use self::find::ProducerRows;
use self::flush::Cut;
use self::grouped::{by_conversation, last_of_producers};
use self::pin::OpenPins;
pub(crate) use self::pin::{Pinned, Place as FilePlace, place};
use self::purge::Freed;
use self::row::Block;
use self::run::Message;
use self::tally::Tallies;
use self::window::{ClassWindow, Held, WINDOW_BYTES, Window};
use self::writing::{Told, Writing};
use super::{
    Bounds, Dead, Erased, Found, Keepings, Keeps, Last, Latest, Marks, Pacer, PageLimit, Place,
    ProducerState, Purged, Reclaimed, Rewrite, Rewritten, Stretch, Survey, SweepCursor, Swept, View,
    ViewError, VisitEvent,
};
use crate::class::Class;
use crate::durable::{create_durable_dir, sync_dir};
use crate::key::{ConversationKey, ProducerKey};
use crate::log::Position;
use crate::pin::LeftPins;
use crate::record::Record;
use crate::reserve::Reserve;

/// Folder of fjall's files in the view's folder.
const ENGINE_DIR: &str = "engine";

/// The view in fjall.
pub struct FjallView {
    dir: PathBuf,
    compactor: Compactor,
    engine: Arc<Engine>,
    applied: AtomicU64,
    writing: Mutex<Writing>,
    told: Mutex<Told>,
    /// Held by whoever flushes.
    flushed: Mutex<Flushed>,
    window_bytes: u64,
    /// The first group of which no table has rows from before the start.
    new_from: Position,
    /// Whether a reclaim has looked for what an earlier process has left.
    has_looked_for_dead: AtomicBool,
    /// Whether there may be values of registers on the disk that a sweep has removed.
    has_swept: AtomicBool,
    /// All registers were merged and old files are there still, for a read: of which windows that are gone they
    /// have nothing but in these.
    merged: Mutex<Option<BTreeSet<ClassWindow>>>,
    /// Old files that were let go and that pins may have still.
    freed: Mutex<Vec<Freed>>,
    pins: OpenPins,
    left_pins: LeftPins,
    /// Conversations of which damage was told.
    known_damaged: Mutex<HashSet<ConversationKey>>,
    /// The folder of a view whose files must not change. Deleted after the database is dropped.
    copy: Option<TempDir>,
}

impl fmt::Debug for FjallView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallView")
            .field("dir", &self.dir)
            .field("applied", &self.applied)
            .finish_non_exhaustive()
    }
}

impl FjallView {
    /// Up to which group a view's folder holds everything, without opening it. `None` when it holds no view.
    ///
    /// # Errors
    /// When the checkpoint is damaged or cannot be read.
    pub fn checkpoint(dir: &Path) -> Result<Option<Position>, ViewError> {
        Ok(checkpoint::read(dir)?.map(|checkpoint| checkpoint.position))
    }

    /// The view with windows of another size than the default of 64 MiB, for tests.
    #[must_use]
    pub fn with_window_bytes(self, window_bytes: u64) -> Self {
        Self { window_bytes, ..self }
    }

    /// The view for whoever knows which groups are new: those from this position on were never applied to
    /// it. Their rows are packed when they are flushed, which those of groups that are applied again must not
    /// be. Without it none are.
    #[must_use]
    pub fn with_new_from(self, new_from: Position) -> Self {
        Self { new_from, ..self }
    }

    /// Opens or creates a view, as it was at its last flush.
    ///
    /// # Errors
    /// When its files are damaged or the operating system refuses.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, ViewError> {
        Self::open_with(dir, cache_bytes, Reserve::none())
    }

    /// The same with a reserve that is released when there is no room.
    pub(crate) fn open_with(dir: &Path, cache_bytes: u64, reserve: Arc<Reserve>) -> Result<Self, ViewError> {
        let checkpoint = checkpoint::read(dir)?;
        let engine_dir = dir.join(ENGINE_DIR);
        if checkpoint.is_some() {
            precheck::check(dir, &engine_dir)?;
            empty_journal(&engine_dir)?;
            unfinished::delete_temporary(&engine_dir)?;
        } else if engine_dir.exists() {
            // Without a checkpoint nothing is promised: the view was being created.
            fs::remove_dir_all(&engine_dir).map_err(ViewError::io("delete", &engine_dir))?;
        }
        create_durable_dir(dir).map_err(ViewError::io("create", dir))?;
        let view = Self::start(dir, &engine_dir, checkpoint, cache_bytes, reserve)?;
        if checkpoint.is_none() {
            // fjall flushes what it makes in its trees' folders and not the names of these.
            for dir in [engine_dir.join("keyspaces"), engine_dir, dir.to_owned()] {
                sync_dir(&dir).map_err(ViewError::io("sync", &dir))?;
            }
            checkpoint::write(dir, Checkpoint::default())?;
        }
        Ok(view)
    }

    /// Opens a view as it was at its last flush, in a copy: nothing that is done with it changes its files.
    /// `None` when the folder holds no view.
    ///
    /// # Errors
    /// When its files are damaged or the operating system refuses.
    pub(crate) fn open_copy(dir: &Path, cache_bytes: u64) -> Result<Option<Self>, ViewError> {
        let Some(checkpoint) = checkpoint::read(dir)? else {
            return Ok(None);
        };
        let engine_dir = dir.join(ENGINE_DIR);
        precheck::check(dir, &engine_dir)?;
        let copy = copy::of(&engine_dir)?;
        empty_journal(copy.path())?;
        let view = Self::start(dir, copy.path(), Some(checkpoint), cache_bytes, Reserve::none())?;
        Ok(Some(Self { copy: Some(copy), ..view }))
    }

    /// An empty view in a temporary folder, as [`FjallView::open_copy`] gives one, where there is none in
    /// `dir`.
    pub(crate) fn open_new_copy(dir: &Path, cache_bytes: u64) -> Result<Self, ViewError> {
        let copy = copy::new()?;
        let view = Self::start(dir, copy.path(), None, cache_bytes, Reserve::none())?;
        Ok(Self { copy: Some(copy), ..view })
    }

    /// Opens fjall, whose journal is empty. `dir` is for errors and the checkpoint.
    fn start(
        dir: &Path,
        engine_dir: &Path,
        checkpoint: Option<Checkpoint>,
        cache_bytes: u64,
        reserve: Arc<Reserve>,
    ) -> Result<Self, ViewError> {
        let engine = Engine::open(dir, engine_dir, checkpoint.is_none(), cache_bytes)?;
        let engine = Arc::new(engine.with_reserve(reserve));
        let compactor =
            Compactor::start(Arc::clone(&engine)).map_err(ViewError::io("start a thread for", dir))?;
        let checkpoint = checkpoint.unwrap_or_default();
        let writing = Self::resume(&engine, checkpoint)?;
        let view = Self {
            dir: dir.to_owned(),
            compactor,
            engine,
            applied: AtomicU64::new(checkpoint.position.0),
            writing: Mutex::new(writing),
            told: Mutex::default(),
            flushed: Mutex::new(Flushed { checkpoint, unwritten: None }),
            window_bytes: WINDOW_BYTES,
            new_from: Position(u64::MAX),
            has_looked_for_dead: AtomicBool::new(false),
            has_swept: AtomicBool::new(true),
            merged: Mutex::default(),
            freed: Mutex::default(),
            pins: OpenPins::default(),
            left_pins: LeftPins::default(),
            known_damaged: Mutex::default(),
            copy: None,
        };
        view.tell(&view.writing.lock(), true);
        Ok(view)
    }

    /// The windows that are written behind a checkpoint. That of the rest is a new one: what a crash has left
    /// of its last one leads nowhere.
    fn resume(engine: &Engine, checkpoint: Checkpoint) -> Result<Writing, ViewError> {
        let (mut windows, snapshot) = (checkpoint.windows, engine.snapshot());
        let last = engine.last_window(&snapshot, Class::REST)?;
        let rest = &mut windows[Class::REST.index()];
        if let Some(last) = last.filter(|last| *last >= rest.window) {
            *rest = OpenWindow { window: last.next(), ..OpenWindow::default() };
        }
        let (begun, tallies) = (HashMap::new(), Tallies::load(engine, &snapshot)?);
        Ok(Writing { windows, begun, tallies, stored_ms: checkpoint.stored_ms })
    }

    fn snapshot(&self) -> Snapshot<'_> {
        self.engine.snapshot()
    }

    /// Sets apart for the disk what is applied since the last checkpoint, and says what holds when that is
    /// written.
    fn cut(&self, last: Position) -> (Checkpoint, Cut<'_>) {
        let mut writing = self.writing.lock();
        let mut batch = Batch::default();
        writing.tallies.write(&self.engine, self.applied(), &mut batch);
        self.engine.write(batch);
        let cut = self.engine.cut(last.next() >= self.new_from);
        let Writing { windows, stored_ms, .. } = *writing;
        (Checkpoint { position: self.applied(), stored_ms, windows }, cut)
    }

    /// Whether a window that is written has a span of a conversation that reaches to this seq. Spans behind
    /// it may be there already, when groups are applied again. Where that cannot be told it gets another one,
    /// which changes nothing of what is there.
    fn has_span(
        &self,
        conversation: ConversationKey,
        seq: Seq,
        window: ClassWindow,
    ) -> Result<bool, ViewError> {
        match self.span_at(&self.snapshot(), conversation, seq) {
            Ok(span) => Ok(span.is_some_and(|span| span.window() == Some(window))),
            Err(error) if error.is_damage() => {
                self.tell_of_damage(conversation, &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Brings everything to stable storage, whether groups were applied since the last time or not.
    fn flush_all(&self, flushed: &mut Flushed) -> Result<(), ViewError> {
        self.with_room(|| {
            loop {
                self.compactor.wait_for_room()?;
                // What an attempt has set apart that has failed goes first. On a full disk there are many
                // attempts, and each read looks into all that was set apart.
                let (next, cut, is_again) = match flushed.unwritten {
                    Some(next) => (next, self.engine.cut_again(), true),
                    None => {
                        let (next, cut) = self.cut(flushed.checkpoint.position);
                        (next, cut, false)
                    }
                };
                flushed.unwritten = Some(next);
                self.engine.flush(cut)?;
                checkpoint::write(&self.dir, next)?;
                *flushed = Flushed { checkpoint: next, unwritten: None };
                if !is_again {
                    return Ok(());
                }
            }
        })?;
        self.compactor.wake();
        Ok(())
    }

    /// Does something that may be done again, and does it once more when there was no room and the reserve
    /// has some.
    fn with_room<T>(&self, mut attempt: impl FnMut() -> Result<T, ViewError>) -> Result<T, ViewError> {
        loop {
            match attempt() {
                Err(error) if error.is_full() && self.engine.reserve.release(&error) => {}
                done => return done,
            }
        }
    }
}

impl View for FjallView {
    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        let mut writing = self.writing.lock();
        let applied = self.applied();
        if position <= applied {
            return Ok(());
        }
        if position != applied.next() {
            return Err(ViewError::Skipped { applied, position });
        }
        let (mut batch, mut begins) = (Batch::default(), Vec::new());
        self.name(records, &mut batch)?;
        self.set_registers(records, &mut batch);
        for (name, events) in by_conversation(records) {
            let conversation = ConversationKey::new(name);
            for of_class in events.chunk_by(|a, b| a.class == b.class) {
                let window = writing.window(of_class[0].class);
                let begun = begins.iter().rev().find(|(of, _)| *of == conversation).map(|(_, window)| window);
                if begun.or_else(|| writing.begun.get(&conversation)) != Some(&window) {
                    let Record { seq: first, time_ms, offset, .. } = *of_class[0];
                    // What the group itself begins is not stored yet.
                    if begun.is_some() || !self.has_span(conversation, first, window)? {
                        let key = row::span_key(conversation, first);
                        let held = Held::There { window, time_ms, offset };
                        batch.insert(&self.engine.spans, key, row::encode_span(&key, held));
                    }
                    begins.push((conversation, window));
                }
                for records in of_class.chunk_by(|a, b| Block::of(a.seq) == Block::of(b.seq)) {
                    for run in run::split(records) {
                        let key = row::run_key(window.number, conversation, run[run.len() - 1].seq);
                        let messages: Vec<_> = run.iter().map(|record| Message::of(record)).collect();
                        batch.insert(self.engine.messages(window.class), key, run::encode(&key, &messages));
                    }
                }
            }
            for records in events.chunk_by(|a, b| Block::of(a.seq) == Block::of(b.seq)) {
                let block = Block::of(records[0].seq);
                for (producer, state) in last_of_producers(records) {
                    let key = row::producer_key(conversation, producer, block);
                    batch.insert(&self.engine.producers, key, row::encode_producer(&key, state));
                }
            }
        }
        self.engine.write(batch);
        let erases = records.iter().any(|record| !record.erases.is_empty());
        if erases {
            self.erase(&mut writing.tallies, position, records)?;
        }
        Self::tally(&mut writing, position, records);
        writing.begun.extend(begins);
        writing.take(records, self.window_bytes);
        self.tell(&writing, erases);
        self.applied.store(position.0, Ordering::Release);
        Ok(())
    }

    fn applied(&self) -> Position {
        Position(self.applied.load(Ordering::Acquire))
    }

    fn stored_ms(&self) -> u64 {
        self.told.lock().stored_ms
    }

    fn flush(&self) -> Result<Position, ViewError> {
        let mut flushed = self.flushed.lock();
        // A copy has no checkpoint of its own.
        if self.applied() != flushed.checkpoint.position && self.copy.is_none() {
            self.flush_all(&mut flushed)?;
        }
        Ok(flushed.checkpoint.position)
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        self.read_bounds(conversation)
    }

    fn last(&self, conversation: &ConversationName) -> Result<Option<Last>, ViewError> {
        self.read_last(conversation)
    }

    fn floor(&self, conversation: &ConversationName, marks: Marks, hint: Seq) -> Result<Place, ViewError> {
        self.read_floor(conversation, marks, hint)
    }

    fn gone_with(&self, conversation: &ConversationName, seq: Seq) -> Result<Option<Last>, ViewError> {
        self.read_gone_with(conversation, seq)
    }

    fn after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.read_after(conversation, after, limit)
    }

    fn visit_after(
        &self,
        conversation: &ConversationName,
        after: Seq,
        limit: PageLimit,
        visit: &mut VisitEvent<'_>,
    ) -> Result<(Seq, Seq), ViewError> {
        self.visit_events_after(conversation, after, limit, visit)
    }

    fn latest(&self, conversation: &ConversationName, limit: PageLimit) -> Result<Latest, ViewError> {
        self.read_latest(conversation, limit)
    }

    fn before(
        &self,
        conversation: &ConversationName,
        before: Option<Seq>,
        limit: PageLimit,
    ) -> Result<Stretch, ViewError> {
        self.read_before(conversation, before, limit)
    }

    fn reclaim(&self, keeps: &mut Keeps<'_>) -> Result<Reclaimed, ViewError> {
        self.with_room(|| self.reclaim_windows(keeps))
    }

    fn rewrite(
        &self,
        keepings: &mut Keepings<'_>,
        rewrite: &mut Rewrite<'_>,
    ) -> Result<Rewritten, ViewError> {
        self.with_room(|| self.rewrite_dead(keepings, rewrite))
    }

    fn sweep(
        &self,
        everything: bool,
        cursor: &mut SweepCursor,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Swept, ViewError> {
        self.sweep_registers(everything, cursor, pace)
    }

    fn purge(&self, everything: bool, pace: &Pacer) -> Result<Purged, ViewError> {
        self.purge_registers(everything, pace)
    }

    fn erased(&self) -> Erased {
        self.told.lock().erased
    }

    fn survey(&self, visit: &mut Survey<'_>) -> Result<u64, ViewError> {
        self.survey_spans(visit)
    }

    fn dead(&self, class: Class, window: u32, now_ms: u64) -> Dead {
        let window = ClassWindow { class, number: Window(window) };
        self.writing.lock().tallies.get(window).map_or_else(Dead::default, |tally| tally.dead(now_ms))
    }

    fn overdue(&self, now_ms: u64) -> Vec<Class> {
        let windows = self.told.lock().windows;
        let is_overdue = |class: &Class| windows[class.index()].is_full(*class, now_ms, u64::MAX);
        Class::all().filter(is_overdue).collect()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }

    fn producer(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
    ) -> Result<Option<ProducerState>, ViewError> {
        ProducerRows { view: self, snapshot: &self.snapshot(), conversation, producer }.last()
    }

    fn find(
        &self,
        conversation: &ConversationName,
        producer: ProducerKey,
        n: u64,
    ) -> Result<Option<Found>, ViewError> {
        ProducerRows { view: self, snapshot: &self.snapshot(), conversation, producer }.find(n)
    }

    fn register(&self, conversation: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        Ok(self.read_registers_at(conversation, &[key])?.pop().flatten())
    }

    fn registers_at(
        &self,
        conversation: &ConversationName,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Bytes>>, ViewError> {
        self.read_registers_at(conversation, keys)
    }

    fn registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.read_registers(conversation, prefix, after, limit)
    }

    fn conversations(
        &self,
        after: Option<&ConversationName>,
        limit: usize,
    ) -> Result<Vec<ConversationName>, ViewError> {
        self.read_conversations(after, limit)
    }
}

/// Empties fjall's journal but keeps its last file, without which fjall would not look for its last sequence
/// number.
fn empty_journal(engine_dir: &Path) -> Result<(), ViewError> {
    let mut journals = Vec::new();
    for entry in fs::read_dir(engine_dir).map_err(ViewError::io("list", engine_dir))? {
        let path = entry.map_err(ViewError::io("list", engine_dir))?.path();
        let number = path
            .extension()
            .is_some_and(|extension| extension == "jnl")
            .then(|| path.file_stem()?.to_str()?.parse::<u64>().ok())
            .flatten();
        journals.extend(number.map(|number| (number, path)));
    }
    journals.sort();
    let last = journals.pop().map_or_else(|| engine_dir.join("0.jnl"), |(_, path)| path);
    for (_, path) in &journals {
        fs::remove_file(path).map_err(ViewError::io("delete", path))?;
    }
    fs::File::create(&last).map_err(ViewError::io("empty", &last))?;
    Ok(())
}

/// Runs a call that opens files. fjall panics on some kinds of damage; that is an error like any other here.
fn guarded<T>(
    dir: &Path,
    action: &'static str,
    call: impl FnOnce() -> ::fjall::Result<T>,
) -> Result<T, ViewError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| engine_error(dir, action, error)),
        Err(_) => Err(ViewError::engine(dir, action, "its files are damaged".to_owned())),
    }
}
