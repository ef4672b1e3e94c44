//! Two ends of a connection, between which a test moves the messages.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, Event, EventKind, ServerFrame};
use quoth_protocol::lane::{LaneMessage, Signal, encode_frames};
use quoth_protocol::limits::{
    FRAME_BYTES_MAX, LANE_CREDIT_OF_CLIENT_BYTES, LANE_CREDIT_OF_SERVER_BYTES,
    LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX, LANE_MESSAGE_BYTES_MAX, STREAMS_BEFORE_SIGN_IN_MAX,
};
use quoth_protocol::{Code, Seq, UserId};
use tokio::task::yield_now;

use crate::{
    Closed, Format, LaneRecv, LaneSend, Lanes, Message, OUTGOING_BYTES_MAX, Outgoing, ReadError, WriteError,
};

/// What is ready of a future that must not wait.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    poll_fn(|task| match future.as_mut().poll(task) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A frame of about so many bytes that says which one it is.
fn frame(n: u64, len: usize) -> Bytes {
    encode(&ClientFrame::Publish(quoth_protocol::frame::Publish::new(n, vec![0x61; len])))
}

/// Moves what one end has to send to the other one.
async fn pump(from: &Lanes, to: &Lanes) {
    while let Some(outgoing) = now(from.next_message()).await {
        match outgoing {
            Outgoing::Message(message) => to.receive(message).unwrap(),
            Outgoing::Close(closed) => return to.closed_by_peer(closed.code, &closed.text),
        }
    }
}

fn pair() -> (Lanes, Lanes) {
    let (client, server) = (Lanes::client(), Lanes::server(Format::Postcard));
    client.signed_in(100);
    server.signed_in(100);
    (client, server)
}

/// A lane on which the client has sent a frame.
async fn lane(client: &Lanes, server: &Lanes) -> ((LaneSend, LaneRecv), (LaneSend, LaneRecv)) {
    let mut ours = client.open().await.unwrap();
    ours.0.write_chunks(&[frame(0, 0)]).await.unwrap();
    pump(client, server).await;
    let mut theirs = now(server.accept()).await.expect("the lane has arrived").unwrap();
    assert_eq!(theirs.1.read_chunk().await, Ok(Some(frame(0, 0))));
    (ours, theirs)
}

#[tokio::test]
async fn frames_go_both_ways_and_lanes_end() {
    let (client, server) = pair();
    let ((mut send, mut recv), (mut reply, mut heard)) = lane(&client, &server).await;
    let frames = [frame(1, 10), frame(2, 300)];
    assert_eq!(reply.write_chunks(&frames).await.unwrap().chunks, 2);
    pump(&server, &client).await;
    assert_eq!(recv.read_chunk().await, Ok(Some(Bytes::from(frames.concat()))));
    send.finish();
    pump(&client, &server).await;
    assert_eq!(heard.read_chunk().await, Ok(None));
    assert_eq!(send.write_chunks(&frames).await, Err(WriteError::Finished));
    reply.write_chunks(&frames[..1]).await.unwrap();
    drop(reply);
    pump(&server, &client).await;
    assert!(matches!(recv.read_chunk().await, Ok(Some(_))));
    assert_eq!(recv.read_chunk().await, Ok(None));
    drop((send, recv, heard));
    assert!(
        client.state.lock().is_empty() && server.state.lock().is_empty(),
        "nothing is kept of a lane that is over"
    );
}

#[tokio::test]
async fn a_lane_that_nobody_reads_holds_up_itself_alone() {
    let (client, server) = pair();
    let (_stalled, (mut to_stalled, _)) = lane(&client, &server).await;
    let ((_send, mut recv), (mut to_reader, _heard)) = lane(&client, &server).await;
    let large = frame(1, 20_000);
    let mut written = 0;
    while let Some(result) = now(to_stalled.write_chunks(std::slice::from_ref(&large))).await {
        written += result.unwrap().bytes;
        pump(&server, &client).await;
    }
    let credit = LANE_CREDIT_OF_SERVER_BYTES as usize;
    assert!((credit..credit + 2 * large.len()).contains(&written), "{written}");
    let mut read = 0;
    for _ in 0..100 {
        now(to_reader.write_chunks(std::slice::from_ref(&large))).await.expect("there is credit").unwrap();
        pump(&server, &client).await;
        read += recv.read_chunk().await.unwrap().unwrap().len();
        pump(&client, &server).await;
    }
    assert_eq!(read, 100 * large.len());
}

#[tokio::test]
async fn what_waits_for_the_socket_is_bounded() {
    let (client, server) = pair();
    let mut lanes = Vec::new();
    for _ in 0..20 {
        lanes.push(lane(&client, &server).await);
    }
    let mut tasks = Vec::new();
    for (_, (mut send, recv)) in lanes.drain(..).map(|(ours, theirs)| (std::mem::forget(ours), theirs)) {
        tasks.push(tokio::spawn(async move {
            for n in 0..10 {
                send.write_chunks(&[frame(n, 10_000)]).await.unwrap();
            }
            (send, recv)
        }));
    }
    yield_now().await;
    let mut messages = 0;
    while messages < 200 {
        let waiting = server.state.lock().outgoing_bytes();
        assert!(waiting < OUTGOING_BYTES_MAX + LANE_MESSAGE_BYTES_MAX, "{waiting}");
        let Outgoing::Message(_) = server.next_message().await else { panic!("closed") };
        messages += 1;
        yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_reset_ends_both_directions_on_both_ends() {
    let (client, server) = pair();
    let ((mut send, mut recv), (mut reply, mut heard)) = lane(&client, &server).await;
    reply.reset(Code::FORBIDDEN);
    heard.stop(Code::FORBIDDEN);
    pump(&server, &client).await;
    assert_eq!(recv.read_chunk().await, Err(ReadError::Reset(Code::FORBIDDEN)));
    assert_eq!(send.write_chunks(&[frame(1, 1)]).await, Err(WriteError::Reset(Code::FORBIDDEN)));
    drop((send, recv, reply, heard));
    assert!(client.state.lock().is_empty() && server.state.lock().is_empty());
    let ((send, recv), (_reply, mut heard)) = lane(&client, &server).await;
    drop((send, recv));
    pump(&client, &server).await;
    assert_eq!(
        heard.read_chunk().await,
        Err(ReadError::Reset(Code::CANCELLED)),
        "a client that wants nothing more"
    );
}

#[tokio::test]
async fn no_more_lanes_than_allowed() {
    let (client, server) = (Lanes::client(), Lanes::server(Format::Postcard));
    let mut lanes = Vec::new();
    for _ in 0..STREAMS_BEFORE_SIGN_IN_MAX {
        lanes.push(lane(&client, &server).await);
    }
    assert!(now(client.open()).await.is_none());
    let message = encode_frames(STREAMS_BEFORE_SIGN_IN_MAX, &[frame(0, 0)]);
    assert_eq!(server.receive(Message::Binary(message)), Ok(()));
    let reset = LaneMessage::signal(STREAMS_BEFORE_SIGN_IN_MAX, Signal::Reset { code: Code::OVERLOADED });
    assert_eq!(server.next_message().await, Outgoing::Message(Message::Binary(reset.encode())));
    let opened = tokio::spawn({
        let client = client.clone();
        async move { client.open().await.map(drop) }
    });
    yield_now().await;
    client.signed_in(STREAMS_BEFORE_SIGN_IN_MAX + 1);
    assert_eq!(opened.await.unwrap(), Ok(()));
}

/// Opens the lane of this number, as a client does that keeps no account of its lanes.
fn open_lane(server: &Lanes, number: u32) {
    assert_eq!(server.receive(Message::Binary(encode_frames(number, &[frame(0, 0)]))), Ok(()));
}

fn reset_lane(server: &Lanes, number: u32) {
    let reset = LaneMessage::signal(number, Signal::Reset { code: Code::CANCELLED });
    assert_eq!(server.receive(Message::Binary(reset.encode())), Ok(()));
}

#[tokio::test]
async fn lanes_that_are_reset_before_anybody_accepts_them_leave_nothing() {
    let server = Lanes::server(Format::Postcard);
    for number in 0..10_000 {
        open_lane(&server, number);
        reset_lane(&server, number);
    }
    assert_eq!(server.state.lock().lanes(), 1, "the control lane, of whose end somebody has to hear");
    assert_eq!((server.take_unserved(), server.take_unserved()), (9_999, 0));
    let mut control = server.accept().await.unwrap();
    assert_eq!(control.1.read_chunk().await, Err(ReadError::Reset(Code::CANCELLED)));
    open_lane(&server, 10_000);
    let lane = server.accept().await.unwrap();
    reset_lane(&server, 10_000);
    assert_eq!(server.take_unserved(), 0, "whoever has accepted a lane sees its reset");
    drop((control, lane));
    assert!(server.state.lock().is_empty());
}

#[tokio::test]
async fn lanes_that_are_over_and_held_are_bounded() {
    let server = Lanes::server(Format::Postcard);
    let mut held = Vec::new();
    let held_max = 2 * STREAMS_BEFORE_SIGN_IN_MAX;
    for number in 0..held_max {
        open_lane(&server, number);
        held.push(now(server.accept()).await.expect("the last one is over").unwrap());
        reset_lane(&server, number);
    }
    open_lane(&server, held_max);
    assert_eq!(server.state.lock().lanes(), held.len());
    assert_eq!(server.take_unserved(), 1);
    held.pop();
    open_lane(&server, held_max + 1);
    assert!(now(server.accept()).await.is_some());
}

#[tokio::test]
async fn before_the_sign_in_messages_are_small() {
    let (client, server) = (Lanes::client(), Lanes::server(Format::Postcard));
    let ((mut send, recv), _theirs) = lane(&client, &server).await;
    let large = [frame(1, 20_000)];
    assert!(now(send.write_chunks(&large)).await.is_none(), "waits for the sign-in");
    let message = encode_frames(0, &large);
    assert!(message.len() > LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX);
    let sent = tokio::spawn(async move { (send.write_chunks(&large).await, send, recv) });
    yield_now().await;
    client.signed_in(10);
    assert!(sent.await.unwrap().0.is_ok());
    assert_eq!(server.receive(Message::Binary(message)), Err(Code::FRAME_TOO_LARGE));
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let frames = |lane| Message::Binary(encode_frames(lane, &[frame(0, 0)]));
    let signal = |lane, signal| Message::Binary(LaneMessage::signal(lane, signal).encode());
    let cases: [(&str, Vec<Message>); 7] = [
        ("a number left out", vec![frames(1)]),
        ("not opened", vec![signal(0, Signal::Finish {})]),
        ("behind the end", vec![frames(0), signal(0, Signal::Finish {}), frames(0)]),
        ("a ping elsewhere", vec![frames(0), frames(1), signal(1, Signal::Ping { n: 1 })]),
        ("text", vec![Message::Text("{}".to_owned())]),
        ("no message", vec![Message::Binary(Bytes::from_static(&[0, 9]))]),
        ("no credit", vec![Message::Binary(encode_frames(0, &[frame(0, FRAME_BYTES_MAX - 100)])); 2]),
    ];
    for (what, messages) in cases {
        let server = Lanes::server(Format::Postcard);
        server.signed_in(10);
        let (last, first) = messages.split_last().unwrap();
        first.iter().for_each(|message| server.receive(message.clone()).unwrap());
        assert_eq!(server.receive(last.clone()), Err(Code::PROTOCOL), "{what}");
        assert_eq!(server.close_reason().unwrap().code, Some(Code::PROTOCOL));
    }
}

#[tokio::test]
async fn a_close_comes_behind_what_was_written() {
    let (client, server) = pair();
    let ((mut send, mut recv), (mut reply, _heard)) = lane(&client, &server).await;
    reply.write_chunks(&[frame(1, 1)]).await.unwrap();
    server.close(Code::GOING_AWAY, "the server is going away");
    pump(&server, &client).await;
    assert!(matches!(recv.read_chunk().await, Ok(Some(_))), "what came before the close is not lost");
    let closed =
        Closed { code: Some(Code::GOING_AWAY), text: "the server is going away".to_owned(), by_peer: true };
    assert_eq!(recv.read_chunk().await, Err(ReadError::Closed(closed.clone())));
    assert_eq!(send.write_chunks(&[frame(1, 1)]).await, Err(WriteError::Closed(closed.clone())));
    assert_eq!(client.closed().await, closed);
    assert!(client.open().await.is_err() && server.accept().await.is_err());
}

#[tokio::test]
async fn what_is_dropped_behind_a_close_says_nothing() {
    let (client, server) = pair();
    let (_ours, theirs) = lane(&client, &server).await;
    server.close(Code::STORE_FAILED, "");
    drop(theirs);
    assert!(matches!(server.next_message().await, Outgoing::Close(_)));
}

#[tokio::test]
async fn a_ping_is_answered_and_many_cost_nothing() {
    let (client, server) = pair();
    let pong = tokio::spawn({
        let client = client.clone();
        async move { client.ping().await }
    });
    yield_now().await;
    pump(&client, &server).await;
    pump(&server, &client).await;
    assert_eq!(pong.await.unwrap(), Ok(()));
    for n in 0..100_000 {
        server.receive(Message::Binary(LaneMessage::signal(0, Signal::Ping { n }).encode())).unwrap();
    }
    assert_eq!(server.state.lock().outgoing_bytes(), 0);
}

#[tokio::test]
async fn a_client_that_reads_nothing_and_asks_for_answers_is_closed() {
    let server = Lanes::server(Format::Postcard);
    server.signed_in(1);
    server.receive(Message::Binary(encode_frames(0, &[frame(0, 0)]))).unwrap();
    let refused = (1..1_000_000)
        .find_map(|lane| server.receive(Message::Binary(encode_frames(lane, &[frame(0, 0)]))).err());
    assert_eq!(refused, Some(Code::OVERLOADED));
}

/// What a test does next.
#[derive(Debug, Clone)]
enum Step {
    Write { lane: usize, by_server: bool, len: usize },
    Read { lane: usize, by_server: bool },
    Pump { to_server: bool, messages: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = 0..4_usize;
    let write = (lane.clone(), any::<bool>(), 0..40_000_usize)
        .prop_map(|(lane, by_server, len)| Step::Write { lane, by_server, len });
    let read = (lane, any::<bool>()).prop_map(|(lane, by_server)| Step::Read { lane, by_server });
    let pump =
        (any::<bool>(), 1..10_usize).prop_map(|(to_server, messages)| Step::Pump { to_server, messages });
    vec(prop_oneof![3 => write, 3 => read, 2 => pump], 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever happens in whatever order: each lane gives what was written on it, in order and once, and
    /// nobody breaks the protocol.
    #[test]
    fn every_lane_gives_what_was_written_on_it(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let (client, server) = pair();
            let mut halves = Vec::new();
            for _ in 0..4 {
                let (ours, theirs) = lane(&client, &server).await;
                halves.push([ours, theirs]);
            }
            let mut written = vec![[Vec::new(), Vec::new()]; 4];
            let mut read = vec![[Vec::new(), Vec::new()]; 4];
            for step in steps.into_iter().chain(std::iter::repeat_n(Step::Pump { to_server: true, messages: 0 }, 400)) {
                match step {
                    Step::Write { lane, by_server, len } => {
                        let frame = frame(written[lane][usize::from(by_server)].len() as u64, len);
                        let send = &mut halves[lane][usize::from(by_server)].0;
                        if let Some(result) = now(send.write_chunks(std::slice::from_ref(&frame))).await {
                            assert_eq!(result.unwrap().bytes, frame.len());
                            written[lane][usize::from(by_server)].extend_from_slice(&frame);
                        }
                    }
                    Step::Read { lane, by_server } => {
                        let recv = &mut halves[lane][usize::from(by_server)].1;
                        if let Some(chunk) = now(recv.read_chunk()).await {
                            read[lane][usize::from(!by_server)].extend_from_slice(&chunk.unwrap().unwrap());
                        }
                    }
                    // In the end everything is moved and read.
                    Step::Pump { messages: 0, .. } => {
                        pump(&client, &server).await;
                        pump(&server, &client).await;
                        for (lane, halves) in halves.iter_mut().enumerate() {
                            for (side, (_, recv)) in halves.iter_mut().enumerate() {
                                if let Some(chunk) = now(recv.read_chunk()).await {
                                    read[lane][1 - side].extend_from_slice(&chunk.unwrap().unwrap());
                                }
                            }
                        }
                    }
                    Step::Pump { to_server, messages } => {
                        let (from, to) = if to_server { (&client, &server) } else { (&server, &client) };
                        for _ in 0..messages {
                            if let Some(Outgoing::Message(message)) = now(from.next_message()).await {
                                to.receive(message).unwrap();
                            }
                        }
                    }
                }
                let waiting = client.state.lock().outgoing_bytes().max(server.state.lock().outgoing_bytes());
                assert!(waiting < OUTGOING_BYTES_MAX + LANE_MESSAGE_BYTES_MAX);
            }
            assert!(read == written, "something is lost, doubled or out of order");
        });
    }
}

#[test]
fn a_text_costs_its_length_and_not_that_of_its_frame() {
    let server = Lanes::server(Format::Json);
    server.signed_in(1);
    let padded =
        format!(r#"{{"lane":0,"seen":{{"seq":1}}{}}}"#, " ".repeat(LANE_CREDIT_OF_CLIENT_BYTES as usize));
    assert_eq!(server.receive(Message::Text(padded.clone())), Ok(()));
    assert_eq!(server.receive(Message::Text(padded)), Err(Code::PROTOCOL), "no credit is left");
}

#[tokio::test]
async fn a_lane_of_texts_stops_when_their_length_has_used_the_credit_up() {
    let server = Lanes::server(Format::Json);
    server.signed_in(1);
    server.receive(Message::Text(r#"{"lane":0,"seen":{"seq":1}}"#.to_owned())).unwrap();
    let (mut send, _recv) = now(server.accept()).await.expect("the lane has arrived").unwrap();
    // In JSON each byte of these bodies takes six.
    let event = encode(&ServerFrame::Event(Event {
        seq: Seq(1),
        time_ms: 1,
        sender: UserId::new("alice").unwrap(),
        origin_time_ms: None,
        kind: EventKind::message(vec![1; 4_000]),
    }));
    let frames = vec![event; 100];
    let (mut count, mut before_last, mut length) = (0, 0, 0);
    while let Some(written) = now(send.write_chunks(&frames)).await {
        count += written.unwrap().chunks;
        while let Some(Outgoing::Message(message)) = now(server.next_message()).await {
            (before_last, length) = (length, length + message.len());
        }
    }
    let credit = LANE_CREDIT_OF_SERVER_BYTES as usize;
    assert!(before_last < credit && length >= credit, "{before_last} and {length} bytes of {credit}");
    assert_eq!(count, length / (length - before_last), "what is written is what is sent");
}
