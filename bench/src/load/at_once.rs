//! Many things, so many of them at once.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Progress;

/// How soon a request to leave is seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// Does `work` for each item, at most `at_once` at a time; gives the results in the order in which they came.
/// Meanwhile `progress` counts them.
///
/// # Errors
/// The first that came, or that the user has asked to leave; the rest is given up.
pub(super) async fn at_once<T, R, F>(
    progress: &Progress,
    items: impl IntoIterator<Item = T>,
    at_once: u32,
    mut work: impl FnMut(T) -> F,
) -> anyhow::Result<Vec<R>>
where
    R: Send + 'static,
    F: Future<Output = anyhow::Result<R>> + Send + 'static,
{
    let mut items = items.into_iter();
    let (mut tasks, mut results) = (JoinSet::new(), Vec::new());
    let mut counted = Counted::new(progress, items.size_hint().0);
    loop {
        while tasks.len() < at_once as usize
            && let Some(item) = items.next()
        {
            tasks.spawn(work(item));
        }
        progress.go_on()?;
        let Ok(next) = timeout(INTERVAL, tasks.join_next()).await else { continue };
        let Some(result) = next else { return Ok(results) };
        results.push(result??);
        counted.one_is_done();
    }
}

/// A part of what is counted; threads count together, and whoever is done takes its part out again.
struct Counted<'a> {
    progress: &'a Progress,
    to_do: u64,
    done: u64,
}

impl<'a> Counted<'a> {
    fn new(progress: &'a Progress, to_do: usize) -> Self {
        let to_do = to_do as u64;
        progress.to_do.fetch_add(to_do, Relaxed);
        Self { progress, to_do, done: 0 }
    }

    fn one_is_done(&mut self) {
        self.done += 1;
        self.progress.done.fetch_add(1, Relaxed);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.progress.to_do.fetch_sub(self.to_do, Relaxed);
        self.progress.done.fetch_sub(self.done, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn never_more_than_so_many() {
        let progress = Progress::default();
        let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let done = at_once(&progress, 0..20, 3, |i| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Relaxed);
                Ok(i)
            }
        });
        let mut done = done.await.expect("all succeed");
        done.sort_unstable();
        assert_eq!((done, most.load(Relaxed)), ((0..20).collect(), 3));
    }

    #[tokio::test]
    async fn what_is_done_of_how_many_is_counted_meanwhile_and_no_longer() {
        let progress = Arc::new(Progress::default());
        let counts = |progress: &Progress| (progress.done.load(Relaxed), progress.to_do.load(Relaxed));
        let seen = at_once(&progress, 0..3, 1, |_| {
            let progress = Arc::clone(&progress);
            async move { Ok(counts(&progress)) }
        });
        assert_eq!(seen.await.expect("all succeed"), [(0, 3), (1, 3), (2, 3)]);
        assert_eq!(counts(&progress), (0, 0));
        let failed =
            at_once(&progress, 0..3, 1, |_| async { anyhow::bail!("at once") as anyhow::Result<()> });
        assert!(failed.await.is_err() && counts(&progress) == (0, 0));
    }

    #[tokio::test]
    async fn a_request_to_leave_ends_it() {
        let progress = Progress::default();
        progress.is_interrupted.store(true, Relaxed);
        let never = at_once(&progress, 0..2, 1, |_| std::future::pending::<anyhow::Result<()>>());
        assert!(never.await.expect_err("it ends").is::<crate::load::Interrupted>());
    }

    #[tokio::test]
    async fn the_first_error_ends_it() {
        let progress = Progress::default();
        let done =
            at_once(
                &progress,
                0..5,
                1,
                |i| async move { if i == 3 { anyhow::bail!("three") } else { Ok(i) } },
            );
        assert_eq!(done.await.expect_err("it fails").to_string(), "three");
    }
}
