//! Registers: what is true of a conversation now.
//!
//! A row for each, overwritten and removed in the batch of the records that do it. Groups that are applied
//! again after a crash overwrite what later ones have left, and the later ones come again behind them, so the
//! rows end as they were: while groups are applied again nobody reads.
//!
//! Retention drops windows, and these rows are in none. Those of events go with these; `sweep.rs`.

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

    pub(super) fn read_registers_at(
        &self,
        conversation: &ConversationName,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Bytes>>, ViewError> {
        let snapshot = self.snapshot();
        let conversation_key = ConversationKey::new(conversation);
        let named = self.read_name(&snapshot, conversation, conversation_key)?;
        let read = |key: &&[u8]| {
            let row_key = row::register_key(conversation_key, key);
            let value = snapshot.get(&self.engine.registers, &row_key);
            let Some(value) = self.engine.database(ACTION, value)? else { return Ok(None) };
            must_be_named(conversation, named.as_ref())?;
            register_value(conversation, &row_key, &value).map(Some)
        };
        keys.iter().map(read).collect()
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
            Some(after) if !after.starts_with(prefix) => return Ok(Vec::new()),
            Some(after) => Bound::Excluded(row_key(after)),
            None => Bound::Included(row_key(prefix)),
        };
        // Behind the last one there may be thousands that were removed, which a range without an end looks
        // through for the next that is there.
        let end = behind_all(row_key(prefix));
        let mut registers = Vec::new();
        for guard in snapshot.range(&self.engine.registers, (first, end)).take(limit) {
            let (key, value) = self.engine.database(ACTION, guard.into_inner())?;
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
            let Some(conversation) = row::conversation_of(&key) else {
                report.findings.push(self.odd_key().into());
                continue;
            };
            if current.as_ref().is_none_or(|(of, _)| *of != conversation) {
                let named = self.stored_name(snapshot, conversation);
                if matches!(named, Ok(None)) {
                    report
                        .findings
                        .push(ViewError::DamagedName { key: conversation, what: "missing" }.into());
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

/// The end of a range of all keys that begin so.
fn behind_all(mut prefix: Vec<u8>) -> Bound<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Bound::Excluded(prefix);
        }
    }
    Bound::Unbounded
}

#[cfg(test)]
mod tests {
    use super::super::check::findings;
    use super::super::row;
    use super::{Bound, Bytes, ConversationKey, FjallView, behind_all};
    use crate::log::Position;
    use crate::testing::{change, notice, record, set};
    use crate::view::{PageLimit, View, ViewError};

    fn view(dir: &std::path::Path) -> FjallView {
        let view = FjallView::open(dir, 1 << 20).unwrap();
        let group =
            [change("a", 1, [set("k", "v"), set("l", "w")]), record("b", 1, 1), notice("c", [set("k", "v")])];
        view.apply(Position(1), &group).unwrap();
        view
    }

    #[test]
    fn a_range_ends_behind_all_keys_that_begin_so() {
        let end = |prefix: &[u8]| behind_all(prefix.to_vec());
        assert_eq!(end(b"ab"), Bound::Excluded(b"ac".to_vec()));
        assert_eq!(end(&[1, 0xff, 0xff]), Bound::Excluded(vec![2]));
        assert_eq!(end(&[0xff, 0xff]), Bound::Unbounded);
    }

    #[test]
    fn a_damaged_register_concerns_its_conversation_alone() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        assert_eq!(findings(&view), [""; 0]);
        let (a, b, c) = (change("a", 2, []).conversation, record("b", 1, 1), notice("c", []));
        let key = |key: &str| row::register_key(ConversationKey::new(&a), key.as_bytes());
        let registers = &view.engine.registers;
        let value = registers.get(key("l")).unwrap().unwrap();
        // Another one's value, a shorter one, and none.
        for damaged in [registers.get(key("k")).unwrap().unwrap().to_vec(), value[..3].to_vec(), Vec::new()] {
            registers.insert(key("l"), damaged).unwrap();
            let error = view.register(&a, b"l").unwrap_err();
            assert!(matches!(&error, ViewError::DamagedRegister { key, .. } if key == "l"), "{error}");
            assert!(matches!(view.registers(&a, b"", None, 9), Err(ViewError::DamagedRegister { .. })));
            assert_eq!(view.register(&a, b"k").unwrap(), Some(Bytes::from("v")));
            assert!(matches!(view.registers_at(&a, &[b"k", b"l"]), Err(ViewError::DamagedRegister { .. })));
            assert_eq!(view.register(&c.conversation, b"k").unwrap(), Some(Bytes::from("v")));
            assert_eq!(view.bounds(&b.conversation).unwrap().head, b.seq);
            let found = findings(&view);
            assert!(
                found.len() == 1 && found[0].contains("register l of conversation a is damaged"),
                "{found:?}"
            );
        }
        // What comes later is written over it.
        view.apply(Position(2), &[notice("a", [set("l", "new")])]).unwrap();
        assert_eq!(view.register(&a, b"l").unwrap(), Some(Bytes::from("new")));
        assert_eq!(findings(&view), [""; 0]);
    }

    #[test]
    fn two_names_with_one_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let (a, c) = (change("a", 2, []).conversation, notice("c", [set("k", "w")]));
        let key = ConversationKey::new(&c.conversation);
        view.engine.conversations.insert(key.0, row::encode_name(&key.0, &a, false)).unwrap();
        let name = &c.conversation;
        assert!(matches!(view.register(name, b"k"), Err(ViewError::KeyCollision { .. })));
        assert!(matches!(view.register(name, b"never"), Err(ViewError::KeyCollision { .. })));
        assert!(matches!(view.registers(name, b"", None, 9), Err(ViewError::KeyCollision { .. })));
        assert!(matches!(view.apply(Position(2), &[c]), Err(ViewError::KeyCollision { .. })));
    }

    #[test]
    fn registers_without_a_name_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        let name = notice("c", []).conversation;
        let key = ConversationKey::new(&name);
        view.engine.conversations.remove(key.0).unwrap();
        assert!(matches!(view.register(&name, b"k"), Err(ViewError::DamagedConversation { .. })));
        assert!(matches!(view.registers(&name, b"", None, 9), Err(ViewError::DamagedConversation { .. })));
        let found = findings(&view);
        assert!(found.len() == 1 && found[0].contains("the name of conversation"), "{found:?}");
    }

    #[test]
    fn a_name_that_denies_its_events_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let view = view(dir.path());
        for (of, has_events) in [("b", false), ("c", true)] {
            let name = record(of, 1, 1).conversation;
            let key = ConversationKey::new(&name).0;
            view.engine.conversations.insert(key, row::encode_name(&key, &name, has_events)).unwrap();
            assert!(matches!(view.bounds(&name), Err(ViewError::DamagedConversation { .. })));
            let limit = PageLimit { records: 9, bytes: 9 };
            assert!(matches!(view.latest(&name, limit), Err(ViewError::DamagedConversation { .. })));
            let found = findings(&view);
            assert!(found.len() == 1 && found[0].contains("conversations, its messages have"), "{found:?}");
            view.engine.conversations.insert(key, row::encode_name(&key, &name, !has_events)).unwrap();
        }
    }
}
