//! The store alone, without sequencer and network.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quoth_store::testing::record;
use quoth_store::{Applier, Content, MessageId, Options, Record, Store, group};

use super::append::PlainFile;
use super::client::BODY_BYTES;
use super::{Plan, Report};

/// Messages that wait for their flush: one group.
const OUTSTANDING: usize = 512;

/// Conversations over which they are spread.
const CONVERSATIONS: usize = 64;

/// How long store and file take turns within a round, so that both meet the same disk.
const TURN: Duration = Duration::from_secs(1);

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..plan.rounds {
        let dir = tempfile::tempdir_in(&plan.dir)?;
        let (of_store, of_file) = measure(dir.path(), Duration::from_secs(plan.turn_s))?;
        let note = format!("store {of_store:.0}/s with its view, plain file {of_file:.0}/s");
        report.round(of_store / of_file, note);
    }
    Ok(())
}

fn measure(dir: &Path, turn: Duration) -> anyhow::Result<(f64, f64)> {
    let store = Store::open(Options::new(dir.join("store")))?;
    let on_failure = Box::new(|error| panic!("the view failed: {error}"));
    let applier = Applier::start(Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    let mut file = PlainFile::create(&dir.join("plain"))?;
    let (mut messages, mut encoded) = (Messages::new(), Vec::new());
    let (mut of_store, mut of_file) = (Rate::default(), Rate::default());
    while of_file.elapsed < turn {
        of_store.during(TURN, || {
            let records = messages.next_group();
            encoded.clear();
            group::encode(&records, &mut encoded);
            let position = store.log.append(&encoded)?;
            store.log.flush()?;
            applier.submit(position, records.into());
            Ok(())
        })?;
        // What the view still has to do belongs to the store's turn.
        let started = Instant::now();
        while applier.applied().next() < store.log.next() {
            std::thread::sleep(Duration::from_micros(100));
        }
        of_store.elapsed += started.elapsed();
        of_file.during(TURN, || Ok(file.append(&encoded).map(drop)?))?;
    }
    applier.stop();
    store.close()?;
    Ok((of_store.per_second(), of_file.per_second()))
}

#[derive(Debug, Default)]
struct Rate {
    groups: usize,
    elapsed: Duration,
}

impl Rate {
    fn during(
        &mut self,
        turn: Duration,
        mut append: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < turn {
            append()?;
            self.groups += 1;
        }
        self.elapsed += started.elapsed();
        Ok(())
    }

    fn per_second(&self) -> f64 {
        (self.groups * OUTSTANDING) as f64 / self.elapsed.as_secs_f64()
    }
}

/// What makes messages. What they have in common is made once: making names and keys is not the store's work.
struct Messages {
    /// One for each conversation.
    last: Vec<Record>,
}

impl Messages {
    fn new() -> Self {
        let body = bytes::Bytes::from(vec![b'x'; BODY_BYTES]);
        let of = |conversation| Record {
            content: Content::Message(body.clone()),
            ..record(&format!("room-{conversation}"), 0, 0)
        };
        Self { last: (0..CONVERSATIONS).map(of).collect() }
    }

    /// The next group: every conversation has its share.
    fn next_group(&mut self) -> Vec<Record> {
        let mut group = Vec::with_capacity(OUTSTANDING);
        for _ in 0..OUTSTANDING / CONVERSATIONS {
            for last in &mut self.last {
                last.seq = last.seq.next();
                last.id = last.id.map(|id| MessageId { n: id.n + 1, ..id });
                group.push(last.clone());
            }
        }
        group
    }
}
