//! Where the freeing of space is: one pass behind the other, each with a number, for whoever has asked for
//! one.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

/// Of so many passes that somebody has asked for it is known what has become of them.
pub(crate) const ENDED_MAX: usize = 32;

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
    /// The same by what it was, each with the last reason for it.
    #[serde(skip)]
    failures: Vec<(&'static str, String)>,
}

impl Pass {
    /// It could not do something. Whoever waits is told of all that it could not do: what comes last may be for
    /// another reason.
    pub(crate) fn fail(&mut self, what: &'static str, error: &str) {
        match self.failures.iter_mut().find(|(before, _)| *before == what) {
            Some((_, last)) => error.clone_into(last),
            None => self.failures.push((what, error.to_owned())),
        }
        let failures: Vec<_> = self.failures.iter().map(|(what, error)| format!("{what}: {error}")).collect();
        self.error = Some(failures.join("; "));
    }
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
    /// The last ones that somebody has asked for, the last one first: who waits for one may look when others
    /// have ended behind it.
    ended: VecDeque<Pass>,
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
            failures: Vec::new(),
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
            state.ended.truncate(ENDED_MAX - 1);
            state.ended.push_front(Pass { step: Step::Done, ended_ms: Some(ended_ms), ..pass });
        }
    }

    /// The pass that is under way, and the last ones that somebody has asked for, the last one first.
    pub(super) fn told(&self) -> (Option<Pass>, Vec<Pass>) {
        let state = self.state.lock();
        (state.now.as_ref().map(|(pass, _)| pass.clone()), state.ended.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDED_MAX, Passes, Step};

    #[test]
    fn who_asks_is_told_of_a_pass_that_begins_behind_it() {
        let passes = Passes::default();
        assert_eq!(passes.told(), (None, vec![]));
        assert!(!passes.begin(1), "nobody has asked");
        // One is under way, which may be past what it is asked for.
        assert_eq!(passes.want(), 2);
        passes.change(|pass| pass.windows += 3);
        passes.end(2);
        assert_eq!(passes.told(), (None, vec![]), "nobody waits for that one");
        assert!(passes.begin(3));
        passes.change(|pass| pass.bytes += 7);
        let (now, _) = passes.told();
        assert_eq!(
            now.map(|pass| (pass.run, pass.windows, pass.bytes, pass.ended_ms)),
            Some((2, 0, 7, None))
        );
        passes.end(4);
        assert!(!passes.begin(5), "it was asked for once");
        let (now, ended) = passes.told();
        assert_eq!(now.map(|pass| pass.run), Some(3));
        let [last] = &ended[..] else { panic!("{ended:?}") };
        assert_eq!((last.run, last.bytes, last.step, last.ended_ms), (2, 7, Step::Done, Some(4)));
    }

    #[test]
    fn what_has_become_of_a_pass_is_told_when_others_have_ended_behind_it() {
        let passes = Passes::default();
        // Two ask before it begins: it is the same one for both. Who asks while it is under way has the next.
        assert_eq!((passes.want(), passes.want()), (1, 1));
        assert!(passes.begin(1));
        let next = passes.want();
        passes.change(|pass| pass.fail("the windows stay", "no room"));
        passes.end(2);
        assert!(passes.begin(3));
        passes.change(|pass| pass.windows += 7);
        passes.end(4);
        let told = |passes: &Passes, run| passes.told().1.into_iter().find(|pass| pass.run == run);
        let (first, second) = (told(&passes, 1).unwrap(), told(&passes, next).unwrap());
        assert_eq!((first.windows, first.error.as_deref()), (0, Some("the windows stay: no room")));
        assert_eq!((next, second.windows, second.error), (2, 7, None));
        for _ in 0..ENDED_MAX {
            passes.want();
            passes.begin(5);
            passes.end(6);
        }
        assert_eq!((passes.told().1.len(), told(&passes, next)), (ENDED_MAX, None), "not for ever");
    }

    #[test]
    fn all_that_a_pass_could_not_do_is_told_with_the_first_of_it_first() {
        let passes = Passes::default();
        passes.want();
        passes.begin(1);
        for (what, error) in
            [("the windows stay", "a"), ("the registers stay", "b"), ("the windows stay", "c")]
        {
            passes.change(|pass| pass.fail(what, error));
        }
        let (now, _) = passes.told();
        assert_eq!(now.unwrap().error.as_deref(), Some("the windows stay: c; the registers stay: b"));
    }
}
