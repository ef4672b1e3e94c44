//! Says when messages are due, on a thread of its own, whatever becomes of those who publish them.

use std::thread::JoinHandle;
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use crate::record::{histogram, record};
use crate::schedule::Due;

/// Gives each publisher its messages when they are due. Ends with the schedule or when nobody listens; gives
/// how late the timer was: the difference is this process's fault and is in every latency.
pub fn start(
    schedule: impl Iterator<Item = Due> + Send + 'static,
    publishers: Vec<mpsc::UnboundedSender<Due>>,
    epoch: Instant,
) -> JoinHandle<Histogram<u64>> {
    std::thread::spawn(move || {
        sharpen_timer();
        let mut lateness = histogram();
        let mut last = None;
        for due in schedule {
            let at = epoch + due.at;
            if last != Some(at) {
                sleep_until(at);
                record(&mut lateness, Instant::now().saturating_duration_since(at));
                last = Some(at);
            }
            let Some(publisher) = publishers.get(due.publisher as usize) else { continue };
            if publisher.send(due).is_err() {
                break;
            }
        }
        lateness
    })
}

fn sleep_until(at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        std::thread::sleep(left);
    }
}

/// Linux lets a sleep of an ordinary thread take 50 us longer, to save power. What cannot be changed shows in
/// the lateness.
pub(crate) fn sharpen_timer() {
    const SLACK_NS: &str = "1";
    let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
    let Some(id) = thread.file_name() else { return };
    let _is_only_later =
        std::fs::write(std::path::Path::new("/proc").join(id).join("timerslack_ns"), SLACK_NS);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::Content;

    #[test]
    fn messages_come_when_they_are_due_and_not_before() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let due = |ms| Due { at: Duration::from_millis(ms), publisher: 0, content: Content::Bytes(1) };
        let epoch = Instant::now();
        let pacer = start([due(0), due(20), due(20), due(40)].into_iter(), vec![sender], epoch);
        while let Some(due) = receiver.blocking_recv() {
            assert!(epoch.elapsed() >= due.at);
        }
        let lateness = pacer.join().expect("it ends");
        assert_eq!(lateness.len(), 3, "one for each time that it rang");
    }

    #[test]
    fn it_ends_when_nobody_listens() {
        let (sender, receiver) = mpsc::unbounded_channel();
        drop(receiver);
        let forever =
            (0..).map(|ms| Due { at: Duration::from_millis(ms), publisher: 0, content: Content::Bytes(1) });
        start(forever, vec![sender], Instant::now()).join().expect("it ends");
    }
}
