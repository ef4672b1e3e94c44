//! The threads of an engine besides those of the runtime.

use std::sync::Arc;
use std::thread::JoinHandle;

use quoth_store::{Applier, Log, StoreError, View};
use tokio::sync::watch;

/// Applies what the log has to the view, and tells when it cannot.
pub(super) fn applier(
    log: &Arc<dyn Log>,
    view: &Arc<dyn View>,
    failed: Arc<watch::Sender<Option<String>>>,
) -> Applier {
    let on_failure = Box::new(move |error: StoreError| {
        failed.send_replace(Some(format!("the view cannot be written: {error}")));
    });
    Applier::start(Arc::clone(log), Arc::clone(view), on_failure)
}

/// Runs the committer on a thread of its own, so that a flush holds up nothing else.
pub(super) fn committer(commits: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("committer".to_owned());
    thread.spawn(move || runtime.block_on(commits)).expect("a thread can be started at start-up")
}
