//! Many things, so many of them at once.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Progress;

/// How soon a request to leave is seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// Does `work` for each item, at most `at_once` at a time; gives the results in the order in which they came.
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
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

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
