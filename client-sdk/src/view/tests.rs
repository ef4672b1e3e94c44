//! A client that was away ends with the view of one that was there.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quoth_protocol::message::{Edit, Reaction};

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
    Page { events, states, head: Seq(head), floor: Seq(1), from, to, more_before: false, more_after: false }
}

/// What a server does, in the plainest way.
#[derive(Debug, Default)]
struct Server {
    log: Vec<Event>,
    absent: BTreeSet<u64>,
    states: BTreeMap<u64, State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    edited: Option<Edit>,
    reactions: BTreeMap<String, BTreeSet<UserId>>,
}

impl Server {
    fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn append(&mut self, sender: UserId, kind: EventKind) -> u64 {
        let seq = self.head() + 1;
        self.log.push(event(seq, sender, kind));
        seq
    }

    /// Does something to the nth message that is there.
    fn act(&mut self, act: Act) {
        let there: Vec<u64> = self.states.keys().copied().collect();
        let target = |n: usize| there.get(n % there.len().max(1)).copied();
        match act {
            Act::Say(by) => {
                let said = format!("said {}", self.head()).into_bytes();
                let seq = self.append(user(by), EventKind::message(said));
                self.states.insert(seq, State::default());
            }
            Act::Other(by) => drop(self.append(user(by), EventKind::Renamed { title: String::new() })),
            Act::Edit(by, n) => {
                let Some(target) = target(n) else { return };
                let body = bytes::Bytes::from(format!("edited {}", self.head()));
                let kind =
                    EventKind::Edited { seq: Seq(target), body: body.clone(), mentions: vec![user(by)] };
                let seq = self.append(user(by), kind);
                let edit = Edit { seq: Seq(seq), time_ms: 1_000 + seq, body, mentions: vec![user(by)] };
                let before = self.states.get_mut(&target).unwrap().edited.replace(edit);
                self.absent.extend(before.map(|edit| edit.seq.0));
            }
            Act::React(by, n, which) => {
                let Some(target) = target(n) else { return };
                let reaction = ["+1", "heart"][which % 2].to_owned();
                let users =
                    self.states.get_mut(&target).unwrap().reactions.entry(reaction.clone()).or_default();
                let on = users.insert(user(by));
                if !on {
                    users.remove(&user(by));
                }
                self.append(user(by), EventKind::Reacted { seq: Seq(target), reaction, on });
            }
            Act::Revoke(by, n) => {
                let Some(target) = target(n) else { return };
                self.append(user(by), EventKind::Revoked { seq: Seq(target) });
                let state = self.states.remove(&target).unwrap();
                self.absent.insert(target);
                self.absent.extend(state.edited.map(|edit| edit.seq.0));
            }
        }
    }

    /// What a reader gets of these seqs by now.
    fn events(&self, from: u64, to: u64) -> Vec<ClientEvent> {
        let mut told: Vec<ClientEvent> = Vec::new();
        for seq in from..=to {
            match told.last_mut() {
                Some(ClientEvent::Gap { to, .. }) if self.absent.contains(&seq) => *to = Seq(seq),
                _ if self.absent.contains(&seq) => {
                    told.push(ClientEvent::Gap { from: Seq(seq), to: Seq(seq) })
                }
                _ => told.push(ClientEvent::Event(self.log[usize::try_from(seq).unwrap() - 1].clone())),
            }
        }
        told
    }

    fn page(&self, from: u64, to: u64) -> Page {
        let states = self.states.range(from..to + 1).map(|(seq, state)| {
            let counted = state.reactions.iter().filter(|(_, users)| !users.is_empty());
            let reactions = counted.map(|(reaction, users)| Reaction {
                reaction: reaction.clone(),
                count: u32::try_from(users.len()).unwrap(),
                mine: users.contains(&user(0)),
            });
            MessageState { seq: Seq(*seq), edited: state.edited.clone(), reactions: reactions.collect() }
        });
        // As the protocol has it: only of those that were edited or reacted to.
        let is_something = |state: &MessageState| state.edited.is_some() || !state.reactions.is_empty();
        let states = states.filter(is_something).collect();
        Page { from: Seq(from), to: Seq(to), ..page(self.events(from, to), states, self.head()) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Say(usize),
    Other(usize),
    Edit(usize, usize),
    React(usize, usize, usize),
    Revoke(usize, usize),
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Act(Act),
    /// The client that comes and goes reads on, live.
    Read(u64),
    /// It begins anew at the head: what lies between is for pages.
    Jump,
    /// It asks for a page of so many seqs that end here, which comes later.
    Ask(u64, u64),
    /// The oldest page that it has asked for comes.
    Take,
}

fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0_usize..3).prop_map(Act::Say),
        1 => (0_usize..3).prop_map(Act::Other),
        4 => (0_usize..3, 0_usize..9).prop_map(|(by, n)| Act::Edit(by, n)),
        4 => (0_usize..3, 0_usize..9, 0_usize..2).prop_map(|(by, n, which)| Act::React(by, n, which)),
        1 => (0_usize..3, 0_usize..9).prop_map(|(by, n)| Act::Revoke(by, n)),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => acts().prop_map(Step::Act),
        3 => (1_u64..6).prop_map(Step::Read),
        1 => Just(Step::Jump),
        1 => (1_u64..8, 0_u64..40).prop_map(|(count, back)| Step::Ask(count, back)),
        1 => Just(Step::Take),
    ]
}

fn seen(view: &View) -> (Vec<Message>, Vec<(Seq, Seq)>) {
    // The version says what was heard of, not what is seen.
    let seen = |message: &Message| Message { version: Seq::ZERO, ..message.clone() };
    (view.messages().map(seen).collect(), view.gaps().collect())
}

proptest! {
    /// One client hears everything as it happens. Another one reads by fits and starts, skips, and reads pages, which come late.
    /// A third one reads everything at the end, in pages that meet.
    #[test]
    fn who_was_away_sees_what_one_sees_who_was_there(
        steps in prop::collection::vec(steps(), 0..150),
        page_seqs in 1_u64..20,
    ) {
        let (mut server, mut there, mut away) = (Server::default(), view(), view());
        let (mut cursor, mut asked) = (0, std::collections::VecDeque::new());
        for step in steps {
            match step {
                Step::Act(act) => {
                    let before = server.head();
                    server.act(act);
                    server.events(before + 1, server.head()).iter().for_each(|event| there.event(event));
                }
                Step::Read(count) => {
                    let to = server.head().min(cursor + count);
                    server.events(cursor + 1, to).iter().for_each(|event| away.event(event));
                    cursor = to;
                }
                Step::Jump => cursor = server.head(),
                Step::Ask(count, back) => {
                    let to = server.head().saturating_sub(back);
                    asked.push_back(server.page(to.saturating_sub(count - 1).max(1), to));
                }
                Step::Take => asked.pop_front().iter().for_each(|page| away.page(page)),
            }
        }
        let mut late = view();
        server.events(cursor + 1, server.head()).iter().for_each(|event| away.event(event));
        let mut to = server.head();
        while to > 0 {
            let from = to.saturating_sub(page_seqs - 1).max(1);
            let page = server.page(from, to);
            away.page(&page);
            late.page(&page);
            to = from - 1;
        }
        asked.iter().for_each(|page| away.page(page));
        prop_assert_eq!(seen(&late), seen(&there), "late");
        prop_assert_eq!(seen(&away), seen(&there), "away");
    }
}

#[test]
fn what_is_hidden_is_left_out_and_counts_as_unread() {
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
    assert_eq!((view.unread(Seq(0)), view.mentions(Seq(0))), (2, 1));
    assert_eq!((view.unread(Seq(1)), view.mentions(Seq(1))), (1, 0));
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
    assert!(view.waiting.is_empty());
    view.page(&Page { floor: Seq(4), ..page(vec![], vec![], 4) });
    assert_eq!(view.messages().map(|message| message.seq).collect::<Vec<_>>(), [Seq(4)]);
    assert_eq!(view.gaps().collect::<Vec<_>>(), [(Seq(1), Seq(3))]);
    let set = |seq, age_s| {
        let retention = Retention { age_s, ..Retention::FOR_EVER };
        ClientEvent::Event(event(seq, user(1), EventKind::RetentionSet { retention }))
    };
    assert_eq!(view.retention(), None);
    view.event(&set(7, 60));
    view.page(&page(vec![set(6, 5)], vec![], 7));
    assert_eq!(view.retention().map(|retention| retention.age_s), Some(60));
}
