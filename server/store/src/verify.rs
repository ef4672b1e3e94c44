//! Checks all that a data folder holds.

use std::collections::HashMap;
use std::path::Path;

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};

use crate::folder::Folder;
use crate::group;
use crate::log::segment::{Walked, walk_all};
use crate::log::{LogError, Position};
use crate::record::{Record, Register, event_of};
use crate::store::OpenError;
use crate::view::fjall::{FjallView, Stored};
use crate::view::{View, ViewError};

/// Cache of the view during a check.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// In the log.
    Log {
        /// Segments that are checked.
        done: usize,
        /// Segments in all.
        segments: usize,
    },
    /// In the view's tables, as files.
    Tables {
        /// Tables that are checked.
        done: usize,
        /// Tables in all.
        tables: usize,
    },
    /// In the view.
    View {
        /// Messages that are checked.
        messages: u64,
    },
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Groups in the log.
    pub groups: u64,
    /// Records in the log.
    pub records: u64,
    /// A group that was being written when the server stopped; the next start drops it. No damage.
    pub torn: Option<Position>,
    /// Up to which group the view holds everything; `None` when there is no view, which the next start builds
    /// unless there are findings.
    pub applied: Option<Position>,
    /// Conversations in the view.
    pub conversations: u64,
    /// Messages in the view, and other events.
    pub messages: u64,
    /// Registers in the view.
    pub registers: u64,
    /// The first group that the log holds; a view can be rebuilt while this is the first group of all.
    pub log_first: Position,
    /// All that is wrong.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the view is damaged or missing and the log is sound.
    #[must_use]
    pub fn is_view_lost(&self) -> bool {
        let of_view = |finding: &Finding| {
            matches!(
                finding,
                Finding::View(_)
                    | Finding::RowsUnchecked
                    | Finding::ViewMissing { .. }
                    | Finding::Disagreement { .. }
                    | Finding::RegisterDisagreement { .. }
            )
        };
        !self.findings.is_empty() && self.findings.iter().all(of_view)
    }

    /// Whether the next start builds the view anew if it is moved away.
    #[must_use]
    pub fn can_rebuild_view(&self) -> bool {
        self.log_first <= Position(1)
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Finding {
    /// In the log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// In the view.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The view's rows were neither checked nor compared with the log.
    #[error("its rows were not checked, since not all of its tables can be read")]
    RowsUnchecked,
    /// A group whose checksum is right is no group of records.
    #[error("the group at position {position} does not decode: {source}")]
    Group {
        /// Which group.
        position: Position,
        /// Why not.
        source: group::DecodeError,
    },
    /// Log and view do not agree.
    #[error(
        "seq {seq} of conversation {conversation}, in the log at position {position}, is {how} in the view"
    )]
    Disagreement {
        /// The conversation.
        conversation: ConversationName,
        /// The record's seq.
        seq: Seq,
        /// The group's position.
        position: Position,
        /// `missing`, `another message`, or absent without a reason.
        how: &'static str,
    },
    /// Log and view do not agree about a register.
    #[error(
        "register {} of conversation {conversation}, in the log at position {position}, holds something else in the view",
        key.escape_ascii()
    )]
    RegisterDisagreement {
        /// The conversation.
        conversation: ConversationName,
        /// The register's key.
        key: Bytes,
        /// The position of the last group that sets or removes it.
        position: Position,
    },
    /// There is no view, and the log does not reach back far enough to build one.
    #[error("there is no view, and it cannot be built anew, since the log starts at {first}")]
    ViewMissing {
        /// The log's first group.
        first: Position,
    },
    /// The log does not reach back to what the view needs.
    #[error(
        "the view holds the groups up to {applied}, but the log holds those from {first} to before {next}"
    )]
    Apart {
        /// How far the view is.
        applied: Position,
        /// The log's first group.
        first: Position,
        /// The position behind its last group.
        next: Position,
    },
}

/// Says whether an event may be absent from a view by how long its conversation is kept, or by its own time.
pub type MayBeAbsent<'a> = &'a mut dyn FnMut(&dyn View, &Record) -> bool;

/// As [`verify_kept`], of a store of which it is not known how long anything is kept: whatever is absent from
/// the view may be.
///
/// # Errors
/// As of that.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Report, OpenError> {
    verify_kept(dir, &mut |_, _| true, progress)
}

/// Checks all that a data folder holds: checksums and chain of the log; checksums and contiguity of the view;
/// and that they agree: what is in the log and absent from the view was erased by the log, or `may_be_absent`. The server must not be running. What the log has beyond the view's last flush is
/// applied first, as a start does, but to a copy in the system's folder for temporary files. No file of the
/// folder changes.
///
/// # Errors
/// When the folder is no data folder of this version, or in use. Damage is no error but in the report.
pub fn verify_kept(
    dir: &Path,
    may_be_absent: MayBeAbsent<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, OpenError> {
    let folder = Folder::take_existing(dir)?;
    let mut report = Report::default();
    let opened = FjallView::open_copy(&folder.view(), CACHE_BYTES);
    let is_missing = matches!(opened, Ok(None));
    let view = match opened {
        Ok(view) => view,
        Err(error) => {
            report.findings.push(error.into());
            None
        }
    };
    report.applied = view.as_ref().map(View::applied);
    let damaged_tables = view.as_ref().map(|view| view.check_tables(progress)).unwrap_or_default();
    // Each row of a damaged one would say so again.
    let view = view.filter(|_| damaged_tables.is_empty());
    if !damaged_tables.is_empty() {
        report.findings.extend(damaged_tables);
        report.findings.push(Finding::RowsUnchecked);
    }
    let mut compared = Compared::new(may_be_absent);
    let log = check_log(&folder.log(), view.as_ref(), &mut compared, &mut report, progress);
    check_extent(&log, is_missing, &mut report);
    report.findings.extend(log.damage.into_iter().map(Finding::Log));
    if let Some(view) = view {
        // Rows of groups that could not be applied may be there in part.
        let is_up_to_date =
            !report.findings.iter().any(|finding| matches!(finding, Finding::Log(_) | Finding::Group { .. }));
        if is_up_to_date {
            report.findings.extend(compared.findings());
        }
        view.check_rows(is_up_to_date, &mut report, progress);
    }
    Ok(report)
}

fn check_log(
    dir: &Path,
    view: Option<&FjallView>,
    compared: &mut Compared<'_>,
    report: &mut Report,
    progress: &mut dyn FnMut(Progress),
) -> Walked {
    let checkpoint = view.map_or(Position::ZERO, View::applied);
    let mut findings = Vec::new();
    let (mut groups, mut records) = (0, 0);
    let walked = walk_all(
        dir,
        &mut |position, bytes| {
            groups += 1;
            match group::decode(bytes) {
                Ok(decoded) => {
                    records += decoded.len() as u64;
                    if let Some(view) = view {
                        findings.extend(compared.take(view, checkpoint, position, decoded));
                    }
                }
                Err(source) => findings.push(Finding::Group { position, source }),
            }
        },
        &mut |done, segments| progress(Progress::Log { done, segments }),
    );
    (report.groups, report.records, report.torn) = (groups, records, walked.torn);
    report.log_first = walked.first;
    report.findings.extend(findings);
    walked
}

/// Checks that the log has what the view needs.
fn check_extent(log: &Walked, is_missing: bool, report: &mut Report) {
    let Walked { first, next, .. } = *log;
    if !log.damage.is_empty() {
        return;
    }
    if is_missing && first > Position(1) {
        report.findings.push(Finding::ViewMissing { first });
    }
    if let Some(applied) = report.applied
        && !(first <= applied.next() && applied < next)
    {
        report.findings.push(Finding::Apart { applied, first, next });
    }
}

/// What a view and the groups of a log say of the same, as far as later groups may still explain it.
struct Compared<'a> {
    may_be_absent: MayBeAbsent<'a>,
    /// Events that are absent without a reason, and their positions. A later group may erase them.
    absent: HashMap<(ConversationName, Seq), Position>,
    /// Registers that hold something else than the groups have said by now, and the positions of those. What a
    /// later group says of a register takes the place of what this says: so no values are kept, and nothing of
    /// those registers that are set once.
    registers: HashMap<(ConversationName, Bytes), Position>,
}

impl<'a> Compared<'a> {
    fn new(may_be_absent: MayBeAbsent<'a>) -> Self {
        Self { may_be_absent, absent: HashMap::new(), registers: HashMap::new() }
    }

    /// Compares a group that the view should hold, or applies it when it comes behind, and gives what no later
    /// group explains.
    fn take(
        &mut self,
        view: &FjallView,
        checkpoint: Position,
        position: Position,
        records: Vec<Record>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if position > checkpoint {
            match view.apply(position, &records) {
                // Groups before this one are damaged and reported as such.
                Ok(()) | Err(ViewError::Skipped { .. }) => {}
                Err(error) => findings.push(error.into()),
            }
        } else {
            let events = records.iter().filter(|record| record.is_event());
            findings.extend(events.filter_map(|record| self.compare(view, position, record)));
        }
        for Record { conversation, erases, registers, .. } in records {
            for seq in erases {
                self.absent.remove(&(conversation.clone(), seq));
            }
            for Register { key, value } in registers {
                let has_gone = || {
                    let of = event_of(&key);
                    of.is_some_and(|(_, seq)| view.is_gone(&conversation, seq).is_ok_and(|gone| gone))
                };
                // The walk over the view's rows reports damaged ones.
                let held = view.register(&conversation, &key);
                let is_other = held.is_ok_and(|held| held != value && !(held.is_none() && has_gone()));
                let register = (conversation.clone(), key);
                if is_other {
                    self.registers.insert(register, position);
                } else {
                    self.registers.remove(&register);
                }
            }
        }
        findings
    }

    fn compare(&mut self, view: &FjallView, position: Position, record: &Record) -> Option<Finding> {
        let (conversation, seq) = (record.conversation.clone(), record.seq);
        let how = match view.message(&conversation, seq) {
            Ok(Stored::Absent) => {
                if !(self.may_be_absent)(view, record) {
                    self.absent.insert((conversation, seq), position);
                }
                return None;
            }
            Ok(Stored::Record(held)) if *held == record.as_read() => return None,
            Ok(Stored::Record(_)) => "another message",
            Ok(Stored::Missing) => "missing",
            // The walk over the view's rows reports damaged ones.
            Err(_) => return None,
        };
        Some(Finding::Disagreement { conversation, seq, position, how })
    }

    /// What nothing has explained, behind the last group.
    fn findings(self) -> impl Iterator<Item = Finding> {
        let how = "absent, though nothing has erased it and it is kept for longer,";
        let absent = self.absent.into_iter().map(move |((conversation, seq), position)| {
            Finding::Disagreement { conversation, seq, position, how }
        });
        let registers = self.registers.into_iter().map(|((conversation, key), position)| {
            Finding::RegisterDisagreement { conversation, key, position }
        });
        absent.chain(registers)
    }
}
