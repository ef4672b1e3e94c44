//! Which of the paths to a server to try, in which order and when, and what their failures mean together.
//! Pure.

use std::time::Duration;

use quoth_protocol::Action;
use rand::{Rng, RngExt};
use tokio::time::Instant;

use crate::session_end::SessionEnd;
use crate::state::Reason;
use crate::transport::{Path, Transport};

/// How long the path that led to the server last gets the head start: long enough for all reconnects in a
/// network without UDP, and short enough to find out that there is some.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// The longest pause between two tries of QUIC while a WebSocket is in use.
const RETURN_PAUSE_MAX: Duration = Duration::from_secs(120);

/// The paths that a client may take, and the last one that led to the server.
#[derive(Debug)]
pub(crate) struct Paths {
    choice: Transport,
    last: Option<(Path, Instant)>,
}

/// A path did not lead to a session.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) path: Path,
    pub(crate) end: SessionEnd,
    /// The server itself has answered the sign-in, and would answer the same on any other path.
    pub(crate) is_final: bool,
}

impl Paths {
    pub(crate) fn new(choice: Transport) -> Self {
        Self { choice, last: None }
    }

    /// The paths in the order in which to try them.
    pub(crate) fn ordered(&self, now: Instant) -> Vec<Path> {
        let last = self.last.filter(|(_, at)| now.duration_since(*at) < REMEMBERED_FOR).map(|(path, _)| path);
        match (self.choice, last) {
            (Transport::Quic, _) => vec![Path::Quic],
            (Transport::WebSocket, _) => vec![Path::WebSocket],
            (Transport::Auto, Some(Path::WebSocket)) => vec![Path::WebSocket, Path::Quic],
            (Transport::Auto, _) => vec![Path::Quic, Path::WebSocket],
        }
    }

    /// A path leads to the server at this time.
    pub(crate) fn led_there(&mut self, path: Path, now: Instant) {
        self.last = Some((path, now));
    }

    /// What is known does not hold any more: the client is in another network, or no path has led anywhere.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    /// Whether a client that uses this path should look for a better one.
    pub(crate) fn wants_better(&self, path: Path) -> bool {
        self.choice == Transport::Auto && path == Path::WebSocket
    }
}

/// What the failures of all paths mean together: the one that says most. When QUIC may lead to the server
/// next time the client goes on, whatever has become of the other path: something on the way may answer there
/// in the server's place, as in networks that want a login first.
pub(crate) fn together(failures: Vec<Failure>) -> SessionEnd {
    let may_retry = |f: &Failure| f.path == Path::Quic && f.end.action == Action::Retry;
    let goes_on = failures.iter().any(may_retry);
    let retry_after = failures.iter().filter_map(|f| f.end.retry_after).max();
    let most = failures
        .into_iter()
        .max_by_key(|f| (is_quic_s_last_word(f), says(&f.end.reason), f.path == Path::Quic));
    let Some(Failure { end, .. }) = most else { return Reason::TimedOut.into() };
    let action = if goes_on { Action::Retry } else { end.action };
    SessionEnd { action, retry_after, ..end }
}

/// Nobody but the server answers to QUIC.
fn is_quic_s_last_word(failure: &Failure) -> bool {
    failure.path == Path::Quic && failure.end.action != Action::Retry
}

/// How much a reason says of what is wrong.
fn says(reason: &Reason) -> u8 {
    match reason {
        Reason::TimedOut | Reason::Closed => 0,
        Reason::Transport(_) | Reason::NoAddress(_) | Reason::Token(_) => 1,
        Reason::NoWebSocket(_) => 2,
        Reason::Tls(_) | Reason::Protocol(_) => 3,
        Reason::Code { .. } => 4,
    }
}

/// The pauses between two tries of QUIC while a WebSocket is in use: they double. A QUIC that works and soon
/// does not any more is no reason to begin anew, or a client would leave a WebSocket that works every few
/// seconds.
#[derive(Debug, Clone)]
pub(crate) struct ReturnPauses {
    first: Duration,
    next: Duration,
}

impl ReturnPauses {
    pub(crate) fn new(first: Duration) -> Self {
        let first = first.min(RETURN_PAUSE_MAX);
        Self { first, next: first }
    }

    /// The pause before the next try: a quarter more or less, since a network that lets no UDP through has
    /// many clients.
    pub(crate) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(RETURN_PAUSE_MAX);
        pause.mul_f64(rng.random_range(0.75..=1.25))
    }

    /// A session over QUIC has held for so long.
    pub(crate) fn held_for(&mut self, duration: Duration) {
        if duration >= RETURN_PAUSE_MAX {
            self.begin_anew();
        }
    }

    /// The client is in another network.
    pub(crate) fn begin_anew(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Code;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const BOTH: [Path; 2] = [Path::Quic, Path::WebSocket];
    const REVERSED: [Path; 2] = [Path::WebSocket, Path::Quic];

    #[test]
    fn the_path_that_led_there_gets_the_head_start_for_a_while() {
        let (mut paths, start) = (Paths::new(Transport::Auto), Instant::now());
        assert_eq!(paths.ordered(start), BOTH);
        paths.led_there(Path::WebSocket, start);
        assert_eq!(paths.ordered(start + REMEMBERED_FOR / 2), REVERSED);
        assert_eq!(paths.ordered(start + REMEMBERED_FOR), BOTH);
        paths.forget();
        assert_eq!(paths.ordered(start), BOTH);
        paths.led_there(Path::Quic, start);
        assert_eq!(paths.ordered(start), BOTH);
    }

    #[test]
    fn a_choice_is_a_choice() {
        let now = Instant::now();
        for (choice, path) in [(Transport::Quic, Path::Quic), (Transport::WebSocket, Path::WebSocket)] {
            let mut paths = Paths::new(choice);
            paths.led_there(Path::WebSocket, now);
            assert_eq!(paths.ordered(now), [path]);
            assert!(!paths.wants_better(path));
        }
        assert!(Paths::new(Transport::Auto).wants_better(Path::WebSocket));
        assert!(!Paths::new(Transport::Auto).wants_better(Path::Quic));
    }

    fn told(quic: Reason, websocket: Reason) -> (Reason, Action) {
        let failure = |(path, reason): (Path, Reason)| Failure { path, end: reason.into(), is_final: false };
        let end = together([(Path::WebSocket, websocket), (Path::Quic, quic)].map(failure).into());
        (end.reason, end.action)
    }

    #[test]
    fn the_failure_that_says_most_is_told_and_quic_decides_whether_to_go_on() {
        let refused = || Reason::Transport("refused".to_owned());
        let overloaded = || Reason::Code { code: Code::OVERLOADED, text: String::new() };
        let tls = |name: &str| Reason::Tls(name.to_owned());
        let none = || Reason::NoWebSocket("HTTP 404".to_owned());
        assert_eq!(told(Reason::TimedOut, Reason::TimedOut), (Reason::TimedOut, Action::Retry));
        assert_eq!(told(Reason::TimedOut, refused()), (refused(), Action::Retry));
        assert_eq!(told(Reason::TimedOut, none()), (none(), Action::Retry));
        assert_eq!(told(Reason::TimedOut, tls("portal")), (tls("portal"), Action::Retry));
        assert_eq!(told(refused(), overloaded()), (overloaded(), Action::Retry));
        assert_eq!(told(tls("quic"), tls("websocket")), (tls("quic"), Action::Stop));
        assert_eq!(told(tls("quic"), overloaded()), (tls("quic"), Action::Stop));
        assert_eq!(told(tls("quic"), refused()), (tls("quic"), Action::Stop));
        let alone = Failure { path: Path::WebSocket, end: none().into(), is_final: false };
        assert_eq!(together(vec![alone]).action, Action::Stop);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread() {
        let (mut rng, mut pauses) = (StdRng::seed_from_u64(7), ReturnPauses::new(Duration::from_secs(10)));
        for expected in [10, 20, 40, 80, 120, 120] {
            let spread = pauses.next(&mut rng).as_secs_f64() / f64::from(expected);
            assert!((0.75..=1.25).contains(&spread), "{expected}: {spread}");
        }
        pauses.held_for(RETURN_PAUSE_MAX / 2);
        assert!(pauses.next(&mut rng) > Duration::from_secs(80), "QUIC did not hold");
        pauses.held_for(RETURN_PAUSE_MAX);
        assert!(pauses.next(&mut rng) < Duration::from_secs(13), "QUIC held");
        let mut draws = || ReturnPauses::new(Duration::from_secs(10)).next(&mut rng);
        assert_ne!(draws(), draws());
    }
}
