//! Clients that read a conversation in every way.

mod random;
mod server;
mod vectors;

use quoth_protocol::retention::Retention;

use super::*;

fn user(n: usize) -> UserId {
    UserId::new(["alice", "bob", "carol"][n % 3]).unwrap()
}

fn view() -> View {
    View::new(ConversationName::new("general").unwrap(), user(0))
}

fn event(seq: u64, sender: UserId, kind: EventKind) -> Event {
    Event { seq: Seq(seq), time_ms: 1_000 + seq, sender, origin_time_ms: None, kind }
}

/// A page of all that there is.
fn page(events: Vec<ClientEvent>, states: Vec<MessageState>, head: u64) -> Page {
    let (from, to) = (Seq(1), Seq(head));
    Page {
        events,
        states,
        head: Seq(head),
        floor: Seq(1),
        from,
        to,
        more_before: false,
        more_after: false,
        gone_before: None,
    }
}

#[test]
fn what_is_hidden_is_left_out_and_is_not_unread() {
    let mut view = view();
    let mentioning =
        EventKind::Message { body: "hi".into(), reply_to: None, mentions: vec![user(0)], expires_ms: 0 };
    for (seq, sender, kind) in [
        (1, user(1), mentioning),
        (2, user(0), EventKind::message("mine")),
        (3, user(1), EventKind::message("more")),
    ] {
        view.event(&ClientEvent::Event(event(seq, sender, kind)));
    }
    for (conversation, seq) in [("general", 1), ("other", 3)] {
        let conversation = ConversationName::new(conversation).unwrap();
        let kind = EventKind::Hidden { conversation, seq: Seq(seq) };
        view.own_event(&ClientEvent::Event(event(9, user(0), kind)));
    }
    let shown: Vec<Seq> = view.messages().map(|message| message.seq).collect();
    assert_eq!((shown, view.message(Seq(1))), (vec![Seq(2), Seq(3)], None));
    assert_eq!((view.unread(Seq(0)), view.mentions(Seq(0))), (1, 0));
    assert_eq!((view.unread(Seq(3)), view.mentions(Seq(3))), (0, 0));
}

#[test]
fn what_expires_is_taken_away_without_a_word_and_does_not_come_back() {
    let mut view = view();
    let expiring =
        EventKind::Message { body: "hi".into(), reply_to: None, mentions: vec![], expires_ms: 2_000 };
    let events = [
        ClientEvent::Event(event(1, user(1), EventKind::message("stays"))),
        ClientEvent::Event(event(2, user(1), expiring)),
    ];
    events.iter().for_each(|event| view.event(event));
    view.expire(1_999);
    assert!(view.message(Seq(2)).is_some());
    view.expire(2_000);
    view.page(&page(events.to_vec(), vec![], 2));
    assert_eq!(view.messages().count(), 1);
    assert_eq!(view.gaps().collect::<Vec<_>>(), [(Seq(2), Seq(2))]);
}

#[test]
fn what_is_forgotten_and_below_the_floor_is_not_taken_again() {
    let mut view = view();
    let events: Vec<ClientEvent> =
        (1..=4).map(|seq| ClientEvent::Event(event(seq, user(1), EventKind::message("x")))).collect();
    view.page(&page(events.clone(), vec![], 4));
    view.forget_before(Seq(3));
    view.page(&page(events, vec![], 4));
    view.event(&ClientEvent::Event(event(
        5,
        user(1),
        EventKind::Edited { seq: Seq(1), body: "y".into(), mentions: vec![] },
    )));
    assert_eq!(view.messages().map(|message| message.seq).collect::<Vec<_>>(), [Seq(3), Seq(4)]);
    assert_eq!(view.waiting.count(), 0);
    view.page(&Page { floor: Seq(4), ..page(vec![], vec![], 4) });
    assert_eq!(view.messages().map(|message| message.seq).collect::<Vec<_>>(), [Seq(4)]);
    assert_eq!(view.gaps().collect::<Vec<_>>(), [(Seq(3), Seq(3))]);
    let set = |seq, age_s| {
        let retention = Retention { age_s, ..Retention::FOR_EVER };
        ClientEvent::Event(event(seq, user(1), EventKind::RetentionSet { retention }))
    };
    assert_eq!(view.retention(), None);
    view.event(&set(7, 60));
    view.page(&page(vec![set(6, 5)], vec![], 7));
    assert_eq!(view.retention().map(|retention| retention.age_s), Some(60));
}
