//! Which of several ways to a server to take, be it addresses or transports: all of them, one after the
//! other, until one leads there (RFC 8305).

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// The head start of each way over the next one, as RFC 8305 recommends. Less would open two connections to a
/// server that is merely far away; an IPv6 that leads nowhere, or a network without UDP, costs no more than
/// this.
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses in the order in which to try them: from the one that worked last on, or else from another
/// one with each attempt.
pub(crate) fn ordered(
    mut addresses: Vec<SocketAddr>,
    worked: Option<SocketAddr>,
    attempt: u64,
) -> Vec<SocketAddr> {
    if let Some(at) = addresses.iter().position(|address| Some(*address) == worked) {
        addresses.rotate_left(at);
    } else if !addresses.is_empty() {
        let at = usize::try_from(attempt).unwrap_or_default() % addresses.len();
        addresses.rotate_left(at);
    }
    addresses
}

/// The first success, or else all failures in the order in which they came; of a failure after which no other
/// way is worth trying, that one alone. What else has been begun is dropped.
pub(crate) async fn first<W, T, E, F>(
    ways: Vec<W>,
    connect: impl Fn(W) -> F,
    is_final: impl Fn(&E) -> bool,
) -> Result<T, Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut ways = ways.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut failures = Vec::new();
    loop {
        match ways.next() {
            Some(way) => running.push(Box::pin(connect(way))),
            None if running.is_empty() => return Err(failures),
            None => {}
        }
        let has_next = ways.len() > 0;
        tokio::select! {
            biased;
            done = any(&mut running) => match done {
                Ok(connected) => return Ok(connected),
                Err(failure) if is_final(&failure) => return Err(vec![failure]),
                Err(failure) => failures.push(failure),
            },
            () = sleep(HEAD_START), if has_next => {}
        }
    }
}

/// What the first of them that is done gives; it leaves the others running. Waits for ever without any.
/// Cancel-safe.
async fn any<F: Future>(running: &mut Vec<Pin<Box<F>>>) -> F::Output {
    poll_fn(|cx| {
        for at in 0..running.len() {
            if let Poll::Ready(output) = running[at].as_mut().poll(cx) {
                drop(running.swap_remove(at));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::FutureExt as _;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const LOST: &str = "lost";

    #[test]
    fn the_address_that_worked_is_tried_first_and_else_another_each_time() {
        let [a, b, c] = [1, 2, 3].map(address);
        assert_eq!(ordered(vec![a, b, c], Some(b), 7), [b, c, a]);
        assert_eq!(ordered(vec![a, b, c], None, 0), [a, b, c]);
        assert_eq!(ordered(vec![a, b, c], Some(address(9)), 5), [c, a, b]);
        assert_eq!(ordered(Vec::new(), Some(a), 1), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_a_head_start() {
        let begun = Instant::now();
        let tried = RefCell::new(Vec::new());
        let connect = |to: SocketAddr| {
            tried.borrow_mut().push((to.port(), begun.elapsed()));
            async move { if to.port() == 3 { Ok::<_, ()>(to) } else { std::future::pending().await } }
        };
        let first = first([1, 2, 3, 4].map(address).to_vec(), connect, |()| false);
        let won = timeout(10 * HEAD_START, first).await.unwrap();
        assert_eq!(won, Ok(address(3)));
        let tried = tried.into_inner();
        assert_eq!(tried.iter().map(|(port, _)| *port).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(tried[1].1 >= HEAD_START && tried[2].1 >= 2 * HEAD_START, "{tried:?}");
    }

    #[tokio::test]
    async fn a_failure_makes_room_for_the_next_one_at_once() {
        let connect = |to: SocketAddr| async move { if to.port() == 3 { Ok(to) } else { Err(LOST) } };
        let won = first([1, 2, 3].map(address).to_vec(), connect, |_| false).now_or_never();
        assert_eq!(won, Some(Ok(address(3))), "it waits");
        let lost_all = first([1, 2].map(address).to_vec(), connect, |_| false).await;
        assert_eq!(lost_all, Err(vec![LOST, LOST]));
        assert_eq!(first(Vec::new(), connect, |_| false).await, Err(vec![]));
    }

    #[tokio::test]
    async fn a_failure_that_is_the_same_everywhere_is_the_answer() {
        let connect = |to: SocketAddr| async move {
            if to.port() == 1 { std::future::pending().await } else { Err::<(), _>("no") }
        };
        let answer = first([1, 2, 3].map(address).to_vec(), connect, |reason| *reason == "no").await;
        assert_eq!(answer, Err(vec!["no"]));
    }
}
