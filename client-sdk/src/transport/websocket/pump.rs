//! Moves messages between a socket and its lanes.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quoth_lanes::{Closed, Lanes, Outgoing};
use quoth_protocol::Code;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message};

use super::{Socket, Traffic, status};

/// What the last messages and the close may take to leave, and the server to answer the close. Outcome: the
/// socket is dropped, and the server sees a connection that was lost.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs until the connection has ended and its peer has been told.
pub(super) async fn run(mut socket: Socket, lanes: Lanes, traffic: Arc<Traffic>) {
    let mut is_flushed = true;
    let pumped = poll_fn(|task| {
        poll_read(&mut socket, &lanes, &traffic, task);
        poll_write(&mut socket, &lanes, &mut is_flushed, task)
    });
    // A socket that takes nothing cannot hold an end up.
    let overdue = async {
        lanes.closed().await;
        sleep(CLOSE_TIMEOUT).await;
    };
    let closed = tokio::select! {
        biased;
        closed = pumped => closed,
        () = overdue => return,
    };
    timeout(CLOSE_TIMEOUT, say_goodbye(&mut socket, closed)).await.ok();
}

/// Takes all messages that are here.
fn poll_read(socket: &mut Socket, lanes: &Lanes, traffic: &Traffic, task: &mut Context<'_>) {
    while lanes.close_reason().is_none() {
        let Poll::Ready(message) = socket.poll_next_unpin(task) else { return };
        traffic.received.fetch_add(1, Ordering::Relaxed);
        match message {
            Some(Ok(Message::Binary(bytes))) => take(lanes, quoth_lanes::Message::Binary(bytes)),
            Some(Ok(Message::Text(text))) => {
                take(lanes, quoth_lanes::Message::Text(text.as_str().to_owned()));
            }
            // Pings are answered by tungstenite.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(close))) => match close {
                Some(close) => lanes.closed_by_peer(status::code(close.code), &close.reason),
                None => lanes.closed_by_peer(Some(Code::CLOSED), ""),
            },
            Some(Err(error)) => fail(lanes, &error),
            None => lanes.closed_by_peer(None, "the server has closed the socket without a word"),
        }
    }
}

fn take(lanes: &Lanes, message: quoth_lanes::Message) {
    // What breaks the protocol has ended the connection, which `poll_write` learns.
    lanes.receive(message).ok();
}

/// Writes all messages that wait, then flushes once. Ready at the end of the connection.
fn poll_write(
    socket: &mut Socket,
    lanes: &Lanes,
    is_flushed: &mut bool,
    task: &mut Context<'_>,
) -> Poll<Closed> {
    loop {
        if let Err(error) = ready!(socket.poll_ready_unpin(task)) {
            fail(lanes, &error);
        }
        let message = match lanes.poll_next_message(task) {
            Poll::Ready(Outgoing::Message(quoth_lanes::Message::Binary(bytes))) => Message::Binary(bytes),
            Poll::Ready(Outgoing::Message(quoth_lanes::Message::Text(text))) => Message::Text(text.into()),
            Poll::Ready(Outgoing::Close(closed)) => return Poll::Ready(closed),
            Poll::Pending => break,
        };
        *is_flushed = false;
        if let Err(error) = socket.start_send_unpin(message) {
            fail(lanes, &error);
        }
    }
    if !*is_flushed {
        *is_flushed = true;
        match socket.poll_flush_unpin(task) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => fail(lanes, &error),
            Poll::Pending => *is_flushed = false,
        }
    }
    Poll::Pending
}

/// The socket fails, or what comes over it is no WebSocket's: as good as lost, but for a message that is too
/// large.
fn fail(lanes: &Lanes, error: &tungstenite::Error) {
    match error {
        tungstenite::Error::Capacity(_) => lanes.close(Code::FRAME_TOO_LARGE, &error.to_string()),
        _ => lanes.closed_by_peer(None, &error.to_string()),
    }
}

/// Closes the socket as far as that can be done, and waits for the server's answer.
async fn say_goodbye(socket: &mut Socket, closed: Closed) {
    let Closed { code, text, by_peer } = closed;
    let frame = match code {
        Some(_) if by_peer => None,
        Some(code) => Some(status::close_frame(code, &text)),
        // The socket is gone.
        None => return,
    };
    if socket.close(frame).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}
