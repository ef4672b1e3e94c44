//! Registers: what is true of a conversation now.
//!
//! A row for each, overwritten and removed in the batch of the records that do it. Groups that are applied again after a crash
//! overwrite what later ones have left, and the later ones come again behind them, so the rows end as they were: while groups
//! are applied again nobody reads.
//!
//! Retention drops windows, and these rows are in none.

use std::collections::HashMap;
use std::ops::Bound;

use ::fjall::Readable as _;
use bytes::Bytes;
use quoth_protocol::ConversationName;

use super::FjallView;
use super::engine::{Batch, Snapshot};
use super::row::{self, Named};
use crate::key::ConversationKey;
use crate::record::{Record, Register};
use crate::verify::Report;
use crate::view::ViewError;

const ACTION: &str = "read a register from";

impl FjallView {
    /// Adds to a batch what records make true. A key may come once in a batch, so the last record decides.
    pub(super) fn set_registers<'a>(&'a self, records: &[Record], batch: &mut Batch<'a>) {
        let mut last = HashMap::new();
        for record in records.iter().filter(|record| !record.registers.is_empty()) {
            let conversation = ConversationKey::new(&record.conversation);
            for Register { key, value } in &record.registers {
                last.insert((conversation, key), value);
            }
        }
        for ((conversation, key), value) in last {
            let key = row::register_key(conversation, key);
            match value {
                Some(value) => {
                    let value = row::encode_register(&key, value);
                    batch.insert(&self.engine.registers, key, value);
                }
                None => batch.remove(&self.engine.registers, key),
            }
        }
    }

    pub(super) fn read_register(
        &self,
        conversation: &ConversationName,
        key: &[u8],
    ) -> Result<Option<Bytes>, ViewError> {
        let snapshot = self.snapshot();
        let conversation_key = ConversationKey::new(conversation);
        let named = self.read_name(&snapshot, conversation, conversation_key)?;
        let row_key = row::register_key(conversation_key, key);
        let value = snapshot.get(&self.engine.registers, &row_key);
        let Some(value) = self.engine.database(ACTION, value)? else { return Ok(None) };
        must_be_named(conversation, named.as_ref())?;
        register_value(conversation, &row_key, &value).map(Some)
    }

    pub(super) fn read_registers(
        &self,
        conversation: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        let snapshot = self.snapshot();
        let conversation_key = ConversationKey::new(conversation);
        let named = self.read_name(&snapshot, conversation, conversation_key)?;
        let row_key = |key| row::register_key(conversation_key, key);
        let first = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(row_key(after)),
            None => Bound::Included(row_key(prefix)),
        };
        let of_prefix = row_key(prefix);
        let mut registers = Vec::new();
        for guard in snapshot.range(&self.engine.registers, (first, Bound::Unbounded)).take(limit) {
            let (key, value) = self.engine.database(ACTION, guard.into_inner())?;
            if !key.starts_with(&of_prefix) {
                break;
            }
            must_be_named(conversation, named.as_ref())?;
            let value = register_value(conversation, &key, &value)?;
            registers.push((Bytes::copy_from_slice(row::key_of_register(&key)), value));
        }
        Ok(registers)
    }

    /// Checks every register's checksum, and that its conversation has a name.
    pub(super) fn check_registers(&self, snapshot: &Snapshot<'_>, report: &mut Report) {
        let mut current: Option<(ConversationKey, Option<Named>)> = None;
        for guard in snapshot.iter(&self.engine.registers) {
            let (key, value) = match self.engine.database(ACTION, guard.into_inner()) {
                Ok(row) => row,
                Err(error) => {
                    report.findings.push(error.into());
                    continue;
                }
            };
            report.registers += 1;
            let Some(conversation) = row::conversation_of_register(&key) else {
                report.findings.push(self.odd_key().into());
                continue;
            };
            if current.as_ref().is_none_or(|(of, _)| *of != conversation) {
                let named = self.stored_name(snapshot, conversation);
                if matches!(named, Ok(None)) {
                    report.findings.push(self.missing_name(conversation).into());
                }
                // The walk over the names reports damaged ones.
                current = Some((conversation, named.ok().flatten()));
            }
            if let Some((_, Some(named))) = &current
                && let Err(error) = register_value(&named.name, &key, &value)
            {
                report.findings.push(error.into());
            }
        }
    }
}

/// A register is written together with its conversation's name.
fn must_be_named(conversation: &ConversationName, named: Option<&Named>) -> Result<(), ViewError> {
    let what = "it has registers but no name";
    let missing = || ViewError::DamagedConversation { conversation: conversation.clone(), what };
    named.map(drop).ok_or_else(missing)
}

/// The value of a register's row.
fn register_value(conversation: &ConversationName, row_key: &[u8], value: &[u8]) -> Result<Bytes, ViewError> {
    let value = row::checked(row_key, value).ok_or_else(|| ViewError::DamagedRegister {
        conversation: conversation.clone(),
        key: Bytes::copy_from_slice(row::key_of_register(row_key)),
        what: "its checksum does not match",
    })?;
    Ok(Bytes::copy_from_slice(value))
}
