//! Where the freeing of space is: one pass behind the other, each with a number, for whoever has asked for
//! one.

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

/// What a pass is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Frees windows of which everything is absent.
    Windows,
    /// Looks how much is absent.
    Look,
    /// Copies what stays of windows of which the rest is absent.
    Rewrite,
    /// Frees the log.
    Log,
    /// Looks for what is kept beside events that have gone.
    Sweep,
    /// Takes what was removed of that from the disk.
    Purge,
    /// It has ended.
    Done,
}

impl Step {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Windows, Self::Look, Self::Rewrite, Self::Log, Self::Sweep, Self::Purge, Self::Done];
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// Its number, from 1 on since the start.
    pub run: u64,
    /// What it is doing.
    pub step: Step,
    /// When it began, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it ended, in milliseconds since 1970; `None`: it is under way.
    pub ended_ms: Option<u64>,
    /// Windows that it has freed.
    pub windows: u64,
    /// What they took of the disk, in bytes, but for what was written anew of it.
    pub bytes: u64,
    /// Bytes of rows that were read and written for it.
    pub moved_bytes: u64,
    /// What it could not do.
    pub error: Option<String>,
}

/// The passes since the start.
#[derive(Debug, Default)]
pub(super) struct Passes {
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the last one that has begun.
    number: u64,
    is_wanted: bool,
    /// The one that is under way, and whether somebody has asked for it.
    now: Option<(Pass, bool)>,
    /// The last one that somebody has asked for.
    last: Option<Pass>,
}

impl Passes {
    /// Asks for a pass that begins from here on; gives its number.
    pub(super) fn want(&self) -> u64 {
        let mut state = self.state.lock();
        state.is_wanted = true;
        self.wanted.notify_one();
        state.number + 1
    }

    /// Waits until somebody does.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A pass begins; says whether somebody has asked for it.
    pub(super) fn begin(&self, begun_ms: u64) -> bool {
        let mut state = self.state.lock();
        state.number += 1;
        let is_wanted = std::mem::take(&mut state.is_wanted);
        let pass = Pass {
            run: state.number,
            step: Step::Windows,
            begun_ms,
            ended_ms: None,
            windows: 0,
            bytes: 0,
            moved_bytes: 0,
            error: None,
        };
        state.now = Some((pass, is_wanted));
        is_wanted
    }

    /// Something of the pass has changed that is under way, if one is.
    pub(super) fn change(&self, change: impl FnOnce(&mut Pass)) {
        if let Some((pass, _)) = &mut self.state.lock().now {
            change(pass);
        }
    }

    /// The pass has ended.
    pub(super) fn end(&self, ended_ms: u64) {
        let mut state = self.state.lock();
        if let Some((pass, is_wanted)) = state.now.take()
            && is_wanted
        {
            state.last = Some(Pass { step: Step::Done, ended_ms: Some(ended_ms), ..pass });
        }
    }

    /// The pass that is under way, and the last one that somebody has asked for.
    pub(super) fn told(&self) -> (Option<Pass>, Option<Pass>) {
        let state = self.state.lock();
        (state.now.as_ref().map(|(pass, _)| pass.clone()), state.last.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{Passes, Step};

    #[test]
    fn who_asks_is_told_of_a_pass_that_begins_behind_it() {
        let passes = Passes::default();
        assert_eq!(passes.told(), (None, None));
        assert!(!passes.begin(1), "nobody has asked");
        // One is under way, which may be past what it is asked for.
        assert_eq!(passes.want(), 2);
        passes.change(|pass| pass.windows += 3);
        passes.end(2);
        assert_eq!(passes.told(), (None, None), "nobody waits for that one");
        assert!(passes.begin(3));
        passes.change(|pass| pass.bytes += 7);
        let (now, _) = passes.told();
        assert_eq!(
            now.map(|pass| (pass.run, pass.windows, pass.bytes, pass.ended_ms)),
            Some((2, 0, 7, None))
        );
        passes.end(4);
        assert!(!passes.begin(5), "it was asked for once");
        let (now, last) = passes.told();
        assert_eq!(now.map(|pass| pass.run), Some(3));
        let last = last.unwrap();
        assert_eq!((last.run, last.bytes, last.step, last.ended_ms), (2, 7, Step::Done, Some(4)));
    }
}
