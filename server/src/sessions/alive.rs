//! Until when the server was there, as registers of the conversation `$server`: a device that was connected
//! when it crashed was last seen then.
//!
//! A device that comes is stored with no time of its end. That would be wrong behind a crash, and to store
//! the present time of each that is connected again and again would be a load; so one time is stored for all
//! of them.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use quoth_protocol::ConversationName;
use quoth_store::{Register, View};
use tokio::time::MissedTickBehavior;

use super::Inner;

/// What the keys begin with; behind it is when the server was started, as 8 bytes with the highest first.
const PREFIX: &[u8] = b"alive/";

/// How often it is stored that the server is there while somebody is connected: by so much the time of a
/// crash may be told too early.
const BEAT: Duration = Duration::from_secs(10);

/// Runs that ended in a crash and are remembered, the latest ones. What connected in an earlier one was last
/// seen when it came.
const RUNS_MAX: usize = 256;

/// When a server was started, and when it was there last, both in milliseconds since 1970.
pub type Run = (u64, u64);

/// The runs of a server that did not end by a stop, and the present one.
#[derive(Debug)]
pub(super) struct Runs {
    started_ms: u64,
    known: RwLock<BTreeMap<u64, u64>>,
}

impl Runs {
    pub(super) fn new(started_ms: u64) -> Self {
        Self { started_ms, known: RwLock::default() }
    }

    /// Puts back what is known of runs before this one.
    pub(super) fn restore(&self, runs: &[Run]) {
        self.known.write().extend(runs.iter().copied());
    }

    /// When a device was last there that has come at a time, and of which no end is stored.
    pub(super) fn last_seen_ms(&self, connected_ms: u64) -> u64 {
        let known = self.known.read();
        let of = known.range(..=connected_ms).next_back();
        of.map_or(connected_ms, |(_, alive_ms)| connected_ms.max(*alive_ms))
    }

    /// The registers by which the server is there at a time, without those of runs of long ago.
    fn registers(&self, now_ms: u64) -> Vec<Register> {
        let known = self.known.read();
        let is_new = usize::from(!known.contains_key(&self.started_ms));
        let many = (known.len() + is_new).saturating_sub(RUNS_MAX);
        let removed =
            known.keys().take(many).map(|started_ms| Register { key: key(*started_ms), value: None });
        let alive = Bytes::copy_from_slice(&now_ms.to_le_bytes());
        removed.chain([Register { key: key(self.started_ms), value: Some(alive) }]).collect()
    }
}

/// What a store's view has of runs that ended in a crash. Blocks.
///
/// # Errors
/// When it cannot be read, as a sentence.
pub fn runs_in(view: &dyn View) -> Result<Vec<Run>, String> {
    let registers = view.registers(&ConversationName::server(), PREFIX, None, usize::MAX);
    let registers =
        registers.map_err(|error| format!("when the server was there cannot be read: {error}"))?;
    Ok(runs_of(&registers))
}

/// The runs that registers hold.
pub(super) fn runs_of(registers: &[(Bytes, Bytes)]) -> Vec<Run> {
    registers.iter().filter_map(|(key, value)| decode(key, value)).collect()
}

/// Stores that the server is there, again and again, for as long as somebody has the sessions.
pub(super) async fn run(sessions: Weak<Inner>) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        let Some(inner) = sessions.upgrade() else { return };
        beat(&inner).await;
    }
}

/// Stores that the server is there, if anybody is connected whom that concerns.
pub(super) async fn beat(inner: &Inner) {
    if inner.state.lock().logins.sessions() == 0 {
        return;
    }
    let now_ms = inner.now_ms();
    let registers = inner.runs.registers(now_ms);
    let removed: Vec<Bytes> = registers
        .iter()
        .filter(|register| register.value.is_none())
        .map(|register| register.key.clone())
        .collect();
    match inner.keep().keep(ConversationName::server(), registers).await {
        Ok(()) => {
            let mut known = inner.runs.known.write();
            known.retain(|started_ms, _| !removed.contains(&key(*started_ms)));
            known.insert(inner.runs.started_ms, now_ms);
        }
        Err(error) => tracing::warn!(
            error,
            "that the server is there cannot be stored: after a crash it is told too early when users were last there"
        ),
    }
}

/// The server stops, and what has been connected is stored with its end.
pub(super) async fn end(inner: &Inner) {
    let started_ms = inner.runs.started_ms;
    if inner.runs.known.write().remove(&started_ms).is_none() {
        return;
    }
    let removed = vec![Register { key: key(started_ms), value: None }];
    if let Err(error) = inner.keep().keep(ConversationName::server(), removed).await {
        tracing::warn!(
            error,
            "when the server was there cannot be removed from the store; it is without effect"
        );
    }
}

fn key(started_ms: u64) -> Bytes {
    [PREFIX, &started_ms.to_be_bytes()].concat().into()
}

fn decode(key: &Bytes, value: &Bytes) -> Option<Run> {
    let started_ms = u64::from_be_bytes(key.strip_prefix(PREFIX)?.try_into().ok()?);
    Some((started_ms, u64::from_le_bytes(value.as_ref().try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::{PREFIX, RUNS_MAX, Runs, decode};

    #[test]
    fn a_device_was_last_seen_at_the_end_of_the_run_in_which_it_came() {
        let runs = Runs::new(900);
        runs.restore(&[(100, 190), (300, 420)]);
        for (connected_ms, expected) in [(50, 50), (100, 190), (195, 195), (299, 299), (310, 420), (950, 950)]
        {
            assert_eq!(runs.last_seen_ms(connected_ms), expected, "{connected_ms}");
        }
    }

    #[test]
    fn the_oldest_runs_are_forgotten() {
        let runs = Runs::new(9_000);
        let before: Vec<_> = (0..RUNS_MAX as u64).map(|n| (n, n + 1)).collect();
        runs.restore(&before);
        let registers = runs.registers(9_500);
        assert_eq!(registers.len(), 2);
        assert!(registers[0].value.is_none() && registers[0].key.ends_with(&0_u64.to_be_bytes()));
        let alive = &registers[1];
        assert!(alive.key.starts_with(PREFIX));
        assert_eq!(decode(&alive.key, alive.value.as_ref().unwrap()), Some((9_000, 9_500)));
    }
}
