//! Half of a large store expires at once and is reclaimed: what live clients notice, what the disk has then,
//! and how late that is.
//!
//! Every other conversation is of a class with an age, and all its messages are of one moment, so that they
//! expire at one moment too, behind a quiet time of the same server. What the disk should have then is what a
//! store takes that never had them.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use quoth_protocol::ConversationName;
use quoth_store::{Class, Record};

use super::live::Live;
use super::machine::{bytes_in, settle};
use super::stored::Stored;
use super::target::Target;
use super::{Plan, Report};

const CONVERSATIONS: u64 = 1_000;

/// How old the messages are that expire when they are stored, and the greatest age of their class in the
/// store.
const OLD_MS: u64 = 600_000;
const AGE_MAX_S: u64 = 3_600;

/// A window of such a class: an eighth of that.
const WINDOW: Duration = Duration::from_secs(AGE_MAX_S / 8);

/// Live traffic comes in turns of this length.
const TURN: Duration = Duration::from_secs(1);

/// What a turn takes longer than its length: connecting, and a warm-up. A bound, of which the quiet time is
/// made.
const TURN_MORE_S: u64 = 1;

/// What the server's start takes before the first turn. A bound as well, for a busy machine.
const START_S: u64 = 15;

/// The disk is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// How often the server frees space unless it is set, in seconds. A shorter run has it do so more often.
const INTERVAL_S: u64 = 60;

/// When the disk has not fallen for so much longer than that, everything is gone that is to go.
const STABLE_MORE: Duration = Duration::from_secs(5);

/// What counts as a fall from one look to the next, in bytes: what is less may be of the live traffic.
const FALL_BYTES: f64 = 2e6;

/// How long it may take until everything is gone. A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for _ in 0..plan.rounds {
        let Round { mut quiet, mut beside, before_bytes, live_bytes, fallen } = measure(plan)?;
        let (quiet, beside) = (&mut quiet.deliveries, &mut beside.deliveries);
        let note = format!(
            "p99 {:.2} ms, quiet {:.2}; p99.9 {:.2}, quiet {:.2}; {} deliveries, quiet {}; disk {:.0} MB before, {:.0} behind, {:.0} \
             of a store without what expired; the last of it went after {:.1} s",
            beside.ms(0.99),
            quiet.ms(0.99),
            beside.ms(0.999),
            quiet.ms(0.999),
            beside.len(),
            quiet.len(),
            before_bytes / 1e6,
            fallen.bytes / 1e6,
            live_bytes / 1e6,
            fallen.late.as_secs_f64(),
        );
        let values = [
            beside.ms(0.99) / quiet.ms(0.99),
            beside.ms(0.999) / quiet.ms(0.999),
            fallen.bytes / live_bytes,
            fallen.late.as_secs_f64() / WINDOW.as_secs_f64(),
        ];
        report.round_of_rows(&values, note);
    }
    Ok(())
}

struct Round {
    quiet: Live,
    /// From when messages expire until the last of them is gone from the disk.
    beside: Live,
    before_bytes: f64,
    live_bytes: f64,
    fallen: Fallen,
}

/// Where the disk has come to.
#[derive(Debug, Clone, Copy)]
struct Fallen {
    bytes: f64,
    /// Behind the moment at which messages expire.
    late: Duration,
}

fn measure(plan: &Plan) -> anyhow::Result<Round> {
    let live_bytes = bytes_without(plan)?;
    let said_ms = now_ms()? - OLD_MS;
    let quoth = Target::quoth_with(&plan.dir, &[], |store| {
        stored(plan).fill_with(store, |number, record| Some(brief(number, record, said_ms)))
    })?;
    settle(quoth.pid())?;
    // So long quiet, and then they expire.
    let quiet_s = START_S + plan.long_s * (1 + TURN_MORE_S);
    let age_s = (now_ms()? - said_ms).div_ceil(1_000) + quiet_s;
    ensure!(age_s <= AGE_MAX_S, "storing the messages took too long");
    let interval_s = plan.long_s.min(INTERVAL_S);
    let settings = [
        format!("retention.classes=brief:brief-*:age_s={age_s}"),
        format!("retention.interval_s={interval_s}"),
    ];
    let quoth = quoth.restart(&settings)?;
    let expires = Instant::now() + Duration::from_millis((said_ms + age_s * 1_000).saturating_sub(now_ms()?));
    let store = &quoth.data_dir().join("store");
    let mut quiet = Live::default();
    for _ in 0..plan.long_s {
        quiet.turn(&quoth, TURN)?;
    }
    ensure!(Instant::now() < expires, "the quiet time was too short");
    let before_bytes = bytes_in(store)?;
    std::thread::sleep(expires.saturating_duration_since(Instant::now()));
    let mut turns = Vec::new();
    let fallen = std::thread::scope(|scope| {
        let stable = Duration::from_secs(interval_s) + STABLE_MORE;
        let watching = scope.spawn(move || watch(store, expires, stable));
        while !watching.is_finished() {
            let (began, mut live) = (expires.elapsed(), Live::default());
            live.turn(&quoth, TURN)?;
            turns.push((began, live));
        }
        watching.join().map_err(|_| anyhow::anyhow!("the watch panicked"))?
    })?;
    let mut beside = Live::default();
    turns.into_iter().filter(|(began, _)| *began <= fallen.late).for_each(|(_, live)| beside.add(live));
    Ok(Round { quiet, beside, before_bytes, live_bytes, fallen })
}

/// Waits until the disk has not fallen for so long.
fn watch(store: &Path, expires: Instant, stable: Duration) -> anyhow::Result<Fallen> {
    let (mut last_bytes, mut fallen) = (bytes_in(store)?, None);
    loop {
        std::thread::sleep(LOOK);
        let (bytes, late) = (bytes_in(store)?, expires.elapsed());
        if bytes < last_bytes - FALL_BYTES {
            fallen = Some(Fallen { bytes, late });
        }
        last_bytes = bytes;
        match fallen {
            Some(fallen) if late - fallen.late >= stable => return Ok(fallen),
            _ => ensure!(late < PATIENCE, "after {PATIENCE:?} it still goes on, or nothing was reclaimed"),
        }
    }
}

/// What a store takes that never had what expires.
fn bytes_without(plan: &Plan) -> anyhow::Result<f64> {
    let quoth = Target::quoth_with(&plan.dir, &[], |store| {
        stored(plan).fill_with(store, |number, record| (!is_brief(number)).then_some(record))
    })?;
    settle(quoth.pid())?;
    bytes_in(&quoth.data_dir().join("store"))
}

fn stored(plan: &Plan) -> Stored {
    Stored { conversations: CONVERSATIONS, messages: plan.kept_messages, group_records: 512 }
}

fn is_brief(number: u64) -> bool {
    number.is_multiple_of(2)
}

/// A message as it is where half of the conversations are brief.
fn brief(number: u64, record: Record, said_ms: u64) -> Record {
    match ConversationName::new(format!("brief-{number}")) {
        Ok(conversation) if is_brief(number) => {
            Record { conversation, time_ms: said_ms, class: Class::of_age_s(AGE_MAX_S), ..record }
        }
        _ => record,
    }
}

fn now_ms() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
