//! Quoth's store: the log that orders and persists, and the view that readers read.
//!
//! The writer appends groups of [`Record`]s to the [`Log`], flushes it once per group and acks; an
//! [`Applier`] feeds the flushed groups to the [`View`], from which history is read. The log is the truth:
//! what of the view is not on stable storage yet is applied again at the next start, and the log is trimmed
//! behind what is, and behind what others [hold](Log::hold).
//!
//! [`Store::open`] opens both in one folder and brings the view up to date; [`Store::memory`] is for tests.
//!
//! ```
//! # use quoth_protocol::{ConversationName, ProducerId, Seq, UserId};
//! # use quoth_store::{Content, MessageId, PageLimit, ProducerKey, Record, Store, group};
//! let store = Store::memory();
//! let (conversation, sender) = (ConversationName::new("general")?, UserId::new("ada")?);
//! let id = MessageId { producer: ProducerKey::new(&sender, ProducerId(7)), n: 1 };
//! let (time_ms, content) = (1_700_000_000_000, Content::Message("hello".into()));
//! let event = Record::event(conversation.clone(), Seq(1), time_ms, sender, content);
//! let record = Record { id: Some(id), ..event };
//! let mut bytes = Vec::new();
//! group::encode(&[record.clone()], &mut bytes);
//! let position = store.log.append(&bytes)?;
//! store.log.flush()?;
//! store.view.apply(position, &[record.clone()])?;
//! let limit = PageLimit { records: 50, bytes: 1 << 20 };
//! assert_eq!(store.view.after(&conversation, Seq::ZERO, limit)?, [record]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod applier;
pub mod backup;
mod bytes_reader;
mod class;
mod durable;
mod folder;
pub mod group;
mod key;
mod log;
mod pin;
mod record;
mod reserve;
mod room;
mod store;
pub mod testing;
mod thread;
mod verify;
mod view;

pub use applier::{Applier, ApplierOptions, Hurry, OnFailure, Then};
pub use class::Class;
pub use durable::create_durable_dir;
pub use folder::{StoreId, check_folder};
pub use key::{ConversationKey, ProducerKey};
pub use log::hold::Hold;
pub use log::memory::MemoryLog;
pub use log::segment::{SEGMENT_BYTES_MIN, SegmentLog};
pub use log::{Log, LogError, LogReader, Position, Visit};
pub use pin::{Pin, Pinner};
pub use record::{Content, MessageId, OF_EVENT, REGISTER_KEY_BYTES_MAX, Record, Register};
pub use reserve::Reserve;
pub use store::{OpenError, Options, Store, StoreError};
pub use verify::{Finding, MayBeAbsent, Progress, Report, verify, verify_kept};
pub use view::fjall::FjallView;
pub use view::memory::MemoryView;
pub use view::{
    Bounds, Dead, Erased, Extent, Found, Keep, Keepings, Keeps, Last, Latest, Marks, NoRoom, Pacer,
    PageLimit, Place, ProducerState, Purged, Reclaimed, Rewrite, Rewritten, Span, StoredContent, StoredEvent,
    Stretch, Survey, SweepCursor, Swept, View, ViewError, VisitEvent,
};
