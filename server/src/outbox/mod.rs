//! The outbox: what happens, told to a backend in order and at least once, however long the backend is away.
//!
//! The log is the queue. It is held from the cursor on, which moves when the backend has taken a batch, so
//! nothing is written twice for it. An event's id is the store's and its place in the log: a backend knows by
//! it what it has already.
//!
//! | module | has |
//! |---|---|
//! | `place` | places in the log, and the cursor on disk |
//! | `event` | records as events, and which of them are sent |
//! | `presence` | who comes and goes, as notices of the log |
//! | `feed` | batches from the log |
//! | `delivery` | sends them, and waits while nobody takes them |

mod delivery;
mod event;
mod feed;
mod place;
mod presence;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quoth_store::{Hold, Log, Position};

use crate::config::Config;
use crate::engine::Engine;
use crate::hooks::{Backend, HooksConfig};
use crate::outbound::Url;
use crate::session::PhaseReceiver;
use crate::sessions::Sessions;
use delivery::Delivery;
use event::Filter;
pub(crate) use event::KINDS;
use place::{Cursor, CursorFile, Place};
use presence::Attendance;

/// How it goes, for operators.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    delivered: AtomicU64,
    backlog_bytes: AtomicU64,
    failing: Mutex<Option<String>>,
}

impl Progress {
    /// Events that were taken since the start.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Bytes of the log that are kept for events that were not taken yet.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes.load(Ordering::Relaxed)
    }

    /// Why the last batch was not taken.
    pub(crate) fn failing(&self) -> Option<String> {
        self.failing.lock().clone()
    }
}

/// From where on the log must be held for events, if any are sent; `None` at the first start with them, when
/// they begin with what happens from then on.
///
/// # Errors
/// When the cursor's file is damaged.
pub(crate) fn hold_from(config: &HooksConfig, data_dir: &Path) -> Result<Option<Position>, String> {
    if config.events_url.is_none() {
        return Ok(None);
    }
    Ok(CursorFile::of(data_dir).read()?.map(|cursor| cursor.next.position))
}

/// An outbox that sends.
#[derive(Debug)]
pub(crate) struct Running {
    thread: std::thread::JoinHandle<Hold>,
    progress: Arc<Progress>,
}

impl Running {
    pub(crate) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Waits for its end, which comes with the service's drain. Blocks. What is given back must be dropped
    /// behind the store, which frees what nobody holds when it stops.
    pub(crate) fn join(self) -> Option<Hold> {
        let hold = self.thread.join().ok();
        if hold.is_none() {
            tracing::error!(
                "the outbox panicked, and events that were not taken may be lost: its message is in the log"
            );
        }
        hold
    }
}

/// What an outbox works with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) log: Arc<dyn Log>,
    /// What [`hold_from`] has asked for.
    pub(crate) hold: Option<Hold>,
    pub(crate) engine: Engine,
    pub(crate) sessions: Sessions,
    pub(crate) phase: PhaseReceiver,
    pub(crate) backend: Backend,
}

/// Begins to send, on a thread of its own; `None` if it is not configured.
///
/// # Errors
/// When the cursor cannot be read or written, or the system gives no thread.
pub(crate) fn start(config: &Config, parts: Parts) -> Result<Option<Running>, String> {
    let Parts { log, hold, engine, sessions, phase, backend } = parts;
    let (hooks, leave) = (&config.hooks, Duration::from_millis(config.presence_leave_ms));
    let Some(Url::Http(uri)) = &hooks.events_url else { return Ok(None) };
    let file = CursorFile::of(&config.data_dir);
    let cursor = match file.read()? {
        Some(cursor) => cursor,
        None => {
            let cursor = Cursor { next: Place::begin(log.next()), gap_from: None };
            file.write(cursor)?;
            cursor
        }
    };
    let filter = Filter::new(engine.store_id(), hooks.events_kinds.clone(), hooks.events_patterns());
    let attendance = filter.wants_presence().then(|| {
        // Before anybody comes.
        let book = presence::Server { engine: engine.clone(), sessions: sessions.clone() };
        (Attendance { book, leave }, sessions.observe())
    });
    // What was held beyond the log's end holds nothing of it.
    let from = feed::within(&log, cursor).next.position;
    let hold = hold.filter(|hold| hold.from() <= from).unwrap_or_else(|| log.hold(from));
    let progress = Arc::new(Progress::default());
    let delivery = Delivery {
        uri: uri.clone(),
        timeout: Duration::from_millis(hooks.events_timeout_ms),
        bytes_max: hooks.outbox_bytes_max,
        filter,
        file,
        log,
        hold,
        engine,
        phase,
        backend,
        progress: Arc::clone(&progress),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the outbox has no runtime: {error}"))?;
    let thread = std::thread::Builder::new().name("outbox".to_owned());
    let thread = thread.spawn(move || {
        runtime.block_on(async {
            // Ends with the runtime.
            attendance.map(|(attendance, changed)| tokio::spawn(attendance.run(changed)));
            delivery.run(cursor).await
        })
    });
    let thread = thread.map_err(|error| format!("the outbox has no thread: {error}"))?;
    Ok(Some(Running { thread, progress }))
}
