//! Readers, pages and typing notices.

use std::future::poll_fn;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use quoth_client::{
    ClientEvent, Code, Conversation, Cursor, EventsError, FetchRange, HistoryError, Reason, Seq, Start,
    State, Transport,
};
use tokio::time::timeout;

use self::follow::follow;
use super::support::{FakeServer, STREAMS_MAX};
use super::{PATIENCE, seqs};

/// The example of how an application keeps its place.
#[path = "../../examples/follow.rs"]
#[allow(dead_code, reason = "its main function is for people")]
mod follow;

over_both! {
    an_application_that_does_not_read_its_events_still_gets_its_acks
    a_slow_application_is_sent_its_events_once
    a_reader_goes_on_where_it_was_over_reconnects
    a_live_reader_misses_nothing_that_was_said_before_its_first_event
    a_reader_on_a_stream_that_is_open_for_sending_is_placed_exactly
    what_was_read_of_another_store_is_told_and_nothing_goes_on_there
    a_cursor_that_an_application_keeps_goes_on_in_its_store_alone
    there_is_one_reader_at_a_time
    a_reader_that_is_given_up_makes_room_for_the_next_one_at_once
    a_reader_given_up_before_its_stream_was_open_does_not_place_the_next_one
    events_are_a_handle_on_the_client_and_the_conversation
    typings_are_a_handle_on_the_client
    what_retention_took_is_told_as_a_gap
    a_hole_is_an_error_and_the_client_goes_on
    a_seq_that_there_cannot_be_is_an_error_and_the_client_goes_on
    history_comes_in_pages
    a_page_may_be_full_behind_a_gap
    a_reader_is_told_why_its_client_ends
    a_reader_that_is_given_up_is_refused_to_nobody_else
    a_reader_is_told_that_the_server_fails_again_and_again
    what_the_server_fails_to_begin_again_and_again_is_told_soon
}

async fn an_application_that_does_not_read_its_events_still_gets_its_acks(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 1_000);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    for n in 1..=1_000 {
        assert_eq!(timeout(PATIENCE, room.send("hi")).await.unwrap().unwrap().seq, Seq(1_000 + n));
    }
    assert_eq!(seqs(&mut events, 2_000).await, (1..=2_000).collect::<Vec<_>>());
    client.close().await;
}

async fn a_slow_application_is_sent_its_events_once(over: Transport) {
    for sends in [false, true] {
        let server = FakeServer::over(over);
        server.world.fill("general", 10_000);
        let client = server.client().await;
        let room = client.conversation("general").unwrap();
        let mut events = room.events(Start::After(Seq(0))).await.unwrap();
        for begin in (0..10_000).step_by(500) {
            assert_eq!(seqs(&mut events, 500).await, (begin + 1..=begin + 500).collect::<Vec<_>>());
            // Slower than the server, which has filled the buffer again by now.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if sends {
                assert!(!timeout(PATIENCE, room.send("hi")).await.unwrap().unwrap().duplicate);
            }
        }
        let sent = server.world.lock().events_sent;
        assert!(sent <= 15_000, "sent {sent} events to deliver 10,000 (with sends: {sends})");
        client.close().await;
    }
}

async fn a_reader_goes_on_where_it_was_over_reconnects(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Last(50)).await.unwrap();
    let mut seen = Vec::new();
    for round in 0..4 {
        seen.extend(seqs(&mut events, 25).await);
        server.world.drop_connections(Code::GOING_AWAY);
        server.world.fill("general", 25);
        server.world.wait_until(|w| w.hellos.len() == round + 2).await;
    }
    assert_eq!(seen, (51..=150).collect::<Vec<_>>());
    client.close().await;
}

async fn a_live_reader_misses_nothing_that_was_said_before_its_first_event(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), ClientEvent::CaughtUp { head: Seq(100) });
    server.world.drop_connections(Code::GOING_AWAY);
    server.world.fill("general", 5);
    assert_eq!(seqs(&mut events, 5).await, [101, 102, 103, 104, 105]);
    client.close().await;
}

async fn a_reader_on_a_stream_that_is_open_for_sending_is_placed_exactly(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    room.send("opens the stream").await.unwrap();
    for (start, first) in [(Start::Last(20), 82), (Start::After(Seq(3)), 4), (Start::Last(1), 101)] {
        let mut events = timeout(PATIENCE, room.events(start)).await.unwrap().unwrap();
        assert_eq!(seqs(&mut events, 1).await, [first]);
    }
    assert_eq!(server.world.lock().opens.len(), 1);
    let beyond = room.events(Start::After(Seq(500))).await.unwrap_err();
    assert!(matches!(beyond, EventsError::Refused { code: Code::CURSOR_AHEAD, .. }), "{beyond:?}");
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(102));
    client.close().await;
}

async fn what_was_read_of_another_store_is_told_and_nothing_goes_on_there(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 10);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 10).await, (1..=10).collect::<Vec<_>>());
    let unread = client.conversation("unread").unwrap();
    let mut fresh = unread.events(Start::After(Seq(0))).await.unwrap();
    // A backup of before the last events, which has others in their places by now.
    server.world.lock().faults.store = 7;
    server.world.fill("general", 5);
    server.world.drop_connections(Code::GOING_AWAY);
    let end = loop {
        match timeout(PATIENCE, events.next()).await.expect("it is told") {
            Some(Ok(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Some(Err(EventsError::Refused { code: Code::CURSOR_AHEAD, .. }))), "{end:?}");
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 15).await, (1..=15).collect::<Vec<_>>());
    server.world.fill("unread", 1);
    assert_eq!(seqs(&mut fresh, 1).await, [1], "who has read nothing goes on");
    client.close().await;
}

async fn a_cursor_that_an_application_keeps_goes_on_in_its_store_alone(over: Transport) {
    let file =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cursor-{over:?}-{}.json", std::process::id()));
    let server = FakeServer::over(over);
    server.world.fill("general", 10);
    // What one start of an application gets, up to and including `last`.
    let run = async |last: u64| {
        let client = server.client().await;
        let room = client.conversation("general").unwrap();
        let mut got = Vec::new();
        let handle = |event| {
            if let ClientEvent::Event(event) = event {
                got.push(event.seq.0);
            }
            got.last() != Some(&last)
        };
        timeout(PATIENCE, follow(&room, &file, handle)).await.unwrap().unwrap();
        client.close().await;
        got
    };
    assert_eq!(run(4).await, [1, 2, 3, 4]);
    assert_eq!(run(10).await, [5, 6, 7, 8, 9, 10]);
    let kept = std::fs::read_to_string(&file).unwrap();
    let cursor: Cursor = serde_json::from_str(&kept).unwrap();
    assert_eq!((cursor.seq, kept), (Seq(10), format!("{{\"store\":{},\"seq\":10}}", cursor.store)));
    // A backup of before the last events, which has others in their places by now, and further ones.
    server.world.lock().faults.store = 7;
    server.world.fill("general", 5);
    assert_eq!(run(15).await, (1..=15).collect::<Vec<_>>());
    server.world.fill("general", 1);
    assert_eq!(run(16).await, [16]);
    std::fs::remove_file(&file).unwrap();

    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let other = room.events(Cursor { store: 8, seq: Seq(3) }).await.unwrap_err();
    assert!(other.is_reset(), "{other:?}");
    // Who has read nothing has nothing to drop.
    let mut events = room.events(Cursor { store: 8, seq: Seq(0) }).await.unwrap();
    assert_eq!(events.cursor(), Cursor { store: 7, seq: Seq(0) });
    assert_eq!(seqs(&mut events, 2).await, [1, 2]);
    assert_eq!(events.cursor(), Cursor { store: 7, seq: Seq(2) });
    drop(events);
    let events = room.events(Start::Last(3)).await.unwrap();
    assert_eq!(events.cursor(), Cursor { store: 7, seq: Seq(13) });
    client.close().await;
}

async fn there_is_one_reader_at_a_time(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let events = room.events(Start::Live).await.unwrap();
    let second = client.conversation("general").unwrap().events(Start::Live).await.unwrap_err();
    assert!(matches!(second, EventsError::AlreadyReading { .. }));
    drop(events);
    room.events(Start::Live).await.unwrap();
    client.close().await;
}

async fn a_reader_that_is_given_up_makes_room_for_the_next_one_at_once(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 10);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    for _ in 0..10 {
        give_up_reading(&room, Start::Live, false).await;
        let mut events = room.events(Start::After(Seq(4))).await.unwrap();
        assert_eq!(seqs(&mut events, 2).await, [5, 6]);
    }
    client.close().await;
}

async fn a_reader_given_up_before_its_stream_was_open_does_not_place_the_next_one(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("late", 10);
    let client = server.client().await;
    let mut open = Vec::new();
    for i in 1..STREAMS_MAX {
        let room = client.conversation(format!("room {i}")).unwrap();
        open.push(room.events(Start::Live).await.unwrap());
    }
    let late = client.conversation("late").unwrap();
    let given_up = timeout(Duration::from_millis(200), late.events(Start::Live)).await;
    assert!(given_up.is_err(), "the server has more streams than the test knows");
    let next = late.events(Start::After(Seq(0)));
    let room_for_it = async {
        // The stream that waits for credit sees the next reader before it gets the credit.
        tokio::task::yield_now().await;
        open.clear();
    };
    let (events, ()) = timeout(PATIENCE, async { tokio::join!(next, room_for_it) }).await.unwrap();
    assert_eq!(seqs(&mut events.unwrap(), 10).await, (1..=10).collect::<Vec<_>>());
    client.close().await;
}

async fn events_are_a_handle_on_the_client_and_the_conversation(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 3);
    let client = server.client().await;
    let mut events = client.conversation("general").unwrap().events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    let ack = timeout(PATIENCE, client.conversation("general").unwrap().send("beside it")).await.unwrap();
    assert_eq!(ack.unwrap().seq, Seq(4));
    let mut states = client.states();
    drop(client);
    server.world.fill("general", 1);
    assert_eq!(seqs(&mut events, 2).await, [4, 5]);
    drop(events);
    timeout(PATIENCE, states.wait_for(|s| matches!(s, State::Closed { .. }))).await.unwrap().unwrap();
}

async fn typings_are_a_handle_on_the_client(over: Transport) {
    let server = FakeServer::over(over);
    let mut typings = server.client().await.conversation("general").unwrap().typings();
    let bob = server.builder().token("bob").connect().await.unwrap();
    bob.conversation("general").unwrap().typing();
    let user = timeout(PATIENCE, typings.next()).await.unwrap().unwrap();
    assert_eq!(user.as_str(), "bob");
}

async fn what_retention_took_is_told_as_a_gap(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 10);
    server.world.lock().logs.get_mut("general").unwrap().floor = 5;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), ClientEvent::Gap { from: Seq(1), to: Seq(4) });
    assert_eq!(seqs(&mut events, 6).await, [5, 6, 7, 8, 9, 10]);
    client.close().await;
}

async fn a_hole_is_an_error_and_the_client_goes_on(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 10);
    server.world.lock().faults.leave_out = Some(4);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, EventsError::Protocol { .. }), "{error:?}");
    assert!(events.next().await.is_none());
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(11));
    client.close().await;
}

async fn a_seq_that_there_cannot_be_is_an_error_and_the_client_goes_on(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 1);
    server.world.lock().faults.endless_gap = true;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    let error = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, EventsError::Protocol { .. }), "{error:?}");
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(2));
    client.close().await;
}

async fn history_comes_in_pages(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 25);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let page = room.history(FetchRange::After(Seq(20)), 3).await.unwrap();
    let seqs: Vec<u64> = page.known().map(|e| e.seq.0).collect();
    assert_eq!((seqs, page.head, page.floor), (vec![21, 22, 23], Seq(25), Seq(1)));
    assert_eq!((page.from, page.to, page.more_before, page.more_after), (Seq(21), Seq(23), true, true));
    let page = room.history(FetchRange::Latest, 100).await.unwrap();
    assert_eq!((page.known().count(), page.more_before, page.more_after), (25, false, false));
    assert!(page.is_complete());
    server.world.lock().logs.get_mut("general").unwrap().floor = 11;
    let page = room.history(FetchRange::Latest, 100).await.unwrap();
    assert_eq!((page.floor, page.gone_before, page.is_complete()), (Seq(11), Some((Seq(1), Seq(10))), false));
    assert!(room.history(FetchRange::After(Seq(10)), 3).await.unwrap().is_complete());
    client.close().await;
}

async fn a_page_may_be_full_behind_a_gap(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 2_000);
    server.world.lock().logs.get_mut("general").unwrap().floor = 11;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let page = room.history(FetchRange::After(Seq(0)), 1_000).await.unwrap();
    assert_eq!(page.events[0], ClientEvent::Gap { from: Seq(1), to: Seq(10) });
    assert_eq!((page.events.len(), page.known().count(), page.more_after), (1_001, 1_000, true));
    assert_eq!((page.from, page.to), (Seq(1), Seq(1_010)), "the gap is of it");
    client.close().await;
}

async fn a_reader_is_told_why_its_client_ends(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let mut events = client.conversation("general").unwrap().events(Start::Live).await.unwrap();
    server.world.drop_connections(Code::TOKEN_REJECTED);
    let end = timeout(PATIENCE, async {
        loop {
            match events.next().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    });
    let end = end.await.unwrap();
    assert!(
        matches!(&end, Some(Err(EventsError::Closed(Reason::Code { code: Code::TOKEN_REJECTED, .. })))),
        "{end:?}"
    );
    assert!(events.next().await.is_none());
}

/// Begins to read and gives up.
async fn give_up_reading(room: &Conversation, start: Start, is_asked_for: bool) {
    let mut events = Box::pin(room.events(start));
    assert!(poll_fn(|cx| Poll::Ready(events.as_mut().poll(cx).is_pending())).await);
    if is_asked_for {
        // The conversation's task asks the server, whose answer takes longer than a turn of the scheduler.
        tokio::task::yield_now().await;
    }
}

async fn a_reader_that_is_given_up_is_refused_to_nobody_else(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let beyond = Start::After(Seq(500));
    room.send("opens the stream").await.unwrap();
    give_up_reading(&room, beyond, true).await;
    let mut events = timeout(PATIENCE, room.events(Start::After(Seq(0)))).await.unwrap().unwrap();
    assert_eq!(seqs(&mut events, 1).await, [1]);
    drop(events);
    for start in [beyond, Start::Live] {
        server.world.lock().faults.forbid_reading = start == Start::Live;
        give_up_reading(&room, start, true).await;
        timeout(PATIENCE, room.send("goes on")).await.unwrap().unwrap();
    }
    client.close().await;
}

async fn a_reader_is_told_that_the_server_fails_again_and_again(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 5);
    server.world.lock().faults.damaged_behind = Some(3);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    let told = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told, ClientEvent::Interrupted { code: Code::STORE_FAILED });
    server.world.lock().faults.damaged_behind = None;
    let next = timeout(PATIENCE, events.next()).await.unwrap();
    assert!(matches!(&next, Some(Ok(ClientEvent::Event(event))) if event.seq == Seq(4)), "{next:?}");
    client.close().await;
}

async fn what_the_server_fails_to_begin_again_and_again_is_told_soon(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    server.world.lock().faults.reset_opens = vec![Code::INTERNAL; 4];
    let failed = timeout(PATIENCE, room.events(Start::Live)).await.unwrap().unwrap_err();
    assert!(matches!(failed, EventsError::Failed { code: Code::INTERNAL, .. }), "{failed:?}");
    server.world.lock().faults.damaged_behind = Some(0);
    let failed = timeout(PATIENCE, room.history(FetchRange::Latest, 1)).await.unwrap().unwrap_err();
    assert!(matches!(failed, HistoryError::Failed { code: Code::STORE_FAILED, .. }), "{failed:?}");
    client.close().await;
}
