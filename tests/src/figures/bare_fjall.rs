//! The floor of reads: fjall as its documentation has it, with one row for each message. No log of ours, no
//! windows, no runs of messages, no checksums of rows; what is read is neither checked nor decoded nor
//! copied.

use std::path::Path;
use std::time::Duration;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use anyhow::Context as _;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{ConversationKey, Options, Record, group};

/// A key, and a message as the store encodes it in its log: as many bytes as a row of the view, up to a few.
type Row = (::fjall::UserKey, ::fjall::UserValue);

/// A database of messages.
pub(super) struct BareFjall {
    database: Database,
    messages: Keyspace,
}

impl BareFjall {
    /// Creates it, with as much cache as a store has by default.
    ///
    /// # Errors
    /// When fjall fails.
    pub(super) fn create(dir: &Path) -> anyhow::Result<Self> {
        let database = Database::builder(dir).cache_size(Options::new(dir).cache_bytes).open()?;
        let messages = database.keyspace("messages", KeyspaceCreateOptions::default)?;
        Ok(Self { database, messages })
    }

    /// Stores groups, each in a batch, and brings all of it into tables: what is read of the view is in
    /// tables too.
    ///
    /// # Errors
    /// When fjall fails.
    pub(super) fn fill(&self, groups: impl Iterator<Item = Vec<Record>>) -> anyhow::Result<()> {
        for records in groups {
            let mut batch = self.database.batch();
            for record in &records {
                let mut value = Vec::new();
                group::encode(std::slice::from_ref(record), &mut value);
                batch.insert(&self.messages, key(&record.conversation, record.seq), value);
            }
            batch.commit()?;
        }
        self.database.persist(PersistMode::SyncAll)?;
        self.messages.rotate_memtable_and_wait()?;
        while self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0 {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The last rows of a conversation, descending.
    ///
    /// # Errors
    /// When fjall fails.
    pub(super) fn last(&self, conversation: &ConversationName, count: usize) -> anyhow::Result<Vec<Row>> {
        let keys = key(conversation, Seq::ZERO)..=key(conversation, Seq(u64::MAX));
        self.messages.range(keys).rev().take(count).map(|row| Ok(row.into_inner()?)).collect()
    }
}

/// A message of the floor, for a look whether it is the same one.
///
/// # Errors
/// When the row is none.
pub(super) fn decoded((_, value): &Row) -> anyhow::Result<Record> {
    group::decode(value)?.pop().context("a row without a message")
}

fn key(conversation: &ConversationName, seq: Seq) -> Vec<u8> {
    [&ConversationKey::new(conversation).0[..], &seq.0.to_be_bytes()].concat()
}
