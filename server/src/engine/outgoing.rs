//! Whether records that somebody has of the log may be told to others, by now.

use std::collections::HashMap;
use std::sync::Arc;

use quoth_protocol::{ConversationName, Seq};
use quoth_store::{PageLimit, Record, Stretch, View, ViewError};

use super::Engine;
use super::readable::Reading;

impl Engine {
    /// Says of each of these events whether nobody is to have it any more. What cannot be judged, since the
    /// view cannot be read there, is absent too: its text may be one that was taken back.
    pub(crate) async fn are_absent(&self, records: &Arc<[Record]>) -> Vec<bool> {
        let mut readings = HashMap::new();
        for record in records.iter() {
            if !readings.contains_key(&record.conversation) {
                let reading = self.reading_for_all(&record.conversation).await;
                readings.insert(record.conversation.clone(), reading);
            }
        }
        let records = Arc::clone(records);
        self.inner.reads.run(move |view| judge_all(view, &readings, &records)).await
    }
}

/// Rows that are read at once: those of a run.
const ROWS: PageLimit = PageLimit { records: 64, bytes: 64 * 1024 };

fn judge_all(
    view: &dyn View,
    readings: &HashMap<ConversationName, Result<Reading, ViewError>>,
    records: &[Record],
) -> Vec<bool> {
    let mut judged = HashMap::new();
    for (name, reading) in readings {
        let judge = reading.as_ref().map_err(ViewError::clone).and_then(|at| at.judged(view, name));
        if let Err(error) = &judge {
            tracing::error!(%error, conversation = %name, "events are told without what they say, since they cannot be judged");
        }
        judged.insert(name, (judge, Rows::default()));
    }
    let is_absent = |record: &Record| match judged.get_mut(&record.conversation) {
        Some((Ok(judged), rows)) => judged.is_absent(record) || rows.lack(view, record),
        Some((Err(_), _)) | None => true,
    };
    records.iter().map(is_absent).collect()
}

/// What the view has of a conversation. What was taken back and has gone from there is in no list any more.
#[derive(Debug, Default)]
struct Rows(Option<Stretch>);

impl Rows {
    /// Whether the view has been at the place of an event, and has nothing there.
    fn lack(&mut self, view: &dyn View, record: &Record) -> bool {
        let told = |rows: &Stretch| rows.from <= record.seq && record.seq <= rows.to;
        if !self.0.as_ref().is_some_and(told) {
            let before = Seq(record.seq.0.saturating_sub(1));
            match view.after(&record.conversation, before, ROWS) {
                Ok(rows) => self.0 = Some(rows),
                Err(error) => {
                    tracing::error!(%error, "an event is told without what it says, since it cannot be judged");
                    return true;
                }
            }
        }
        self.0.as_ref().is_some_and(|rows| told(rows) && !rows.iter().any(|row| row.seq == record.seq))
    }
}
