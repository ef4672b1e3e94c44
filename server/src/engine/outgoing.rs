//! Whether records that somebody has of the log may be told to others, by now.

use std::collections::HashMap;
use std::sync::Arc;

use quoth_protocol::name::Reserved;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{PageLimit, Record, View, ViewError};

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
        judged.insert(name, judge);
    }
    let is_absent = |record: &Record| match judged.get(&record.conversation) {
        Some(Ok(judged)) => judged.is_absent(record) || is_taken(view, record),
        Some(Err(_)) | None => true,
    };
    records.iter().map(is_absent).collect()
}

/// Whether it was taken from a user's own log, of which no register tells: its row does.
fn is_taken(view: &dyn View, record: &Record) -> bool {
    if !matches!(record.conversation.reserved(), Some(Reserved::Server)) {
        return false;
    }
    let before = Seq(record.seq.0.saturating_sub(1));
    let read = view.after(&record.conversation, before, PageLimit { records: 1, bytes: usize::MAX });
    match read {
        Ok(read) => read.to >= record.seq && !read.iter().any(|row| row.seq == record.seq),
        Err(error) => {
            tracing::error!(%error, "an event is told without what it says, since it cannot be judged");
            true
        }
    }
}
