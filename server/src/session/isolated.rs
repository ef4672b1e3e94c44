//! Work whose panic is not its caller's.

use tokio::task::{JoinError, JoinSet};

/// Does some work in a task of its own, so that it may panic. Whoever gives this up ends the work too: it
/// must not outlive the connection that it is done for.
///
/// # Errors
/// When the work has panicked.
pub(super) async fn isolated<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    // A set ends its tasks when it is dropped, as a handle does not.
    let mut task = JoinSet::new();
    let handle = task.spawn(work);
    match task.join_next().await {
        Some(done) => done,
        None => unreachable!("the task {} is in the set", handle.id()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::JoinSet;

    use super::isolated;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn work_ends_with_whoever_waits_for_it() {
        let (begins, begun) = oneshot::channel();
        let (held, ended) = oneshot::channel::<()>();
        let mut connection = JoinSet::new();
        connection.spawn(isolated(async move {
            let _held = held;
            begins.send(()).unwrap();
            std::future::pending::<()>().await;
        }));
        tokio::time::timeout(PATIENCE, begun).await.expect("it begins").unwrap();
        connection.abort_all();
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it is not done any more");
        assert!(ended.is_err(), "what it held is dropped");
    }

    #[tokio::test]
    async fn a_panic_stays_where_it_is() {
        assert_eq!(isolated(async { 7 }).await.unwrap(), 7);
        assert!(
            isolated(async { panic!("a fault") })
                .await
                .is_err_and(|error: tokio::task::JoinError| error.is_panic())
        );
    }
}
