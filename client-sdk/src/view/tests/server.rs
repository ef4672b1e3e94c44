//! What a server does, in the plainest way.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::message::{Edit, MessageState, Reaction};
use quoth_protocol::retention::Retention;
use quoth_protocol::{Seq, UserId};

use super::{event, page, user};
use crate::events::ClientEvent;
use crate::history::Page;
use crate::view::{Edited, Message, ReactionCount};

/// What somebody does; `n` stands for the nth message that is there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Says something, for so many seconds; 0: without an end.
    Say(usize, u64),
    Other(usize),
    Edit(usize, usize),
    React(usize, usize, usize),
    Revoke(usize, usize),
    /// Another one of [`RETENTIONS`].
    Keep(usize),
}

const RETENTIONS: [Retention; 5] = [
    Retention::FOR_EVER,
    Retention { age_s: 5, ..Retention::FOR_EVER },
    Retention { age_s: 20, ..Retention::FOR_EVER },
    Retention { count: 12, ..Retention::FOR_EVER },
    Retention { age_s: 9, count: 25, bytes: 0 },
];

pub(super) fn acts() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (0_usize..3).prop_map(|by| Act::Say(by, 0)),
        2 => (0_usize..3, 1_u64..6).prop_map(|(by, for_s)| Act::Say(by, for_s)),
        3 => (0_usize..3).prop_map(Act::Other),
        12 => (0_usize..3, 0_usize..9).prop_map(|(by, n)| Act::Edit(by, n)),
        12 => (0_usize..3, 0_usize..9, 0_usize..2).prop_map(|(by, n, which)| Act::React(by, n, which)),
        3 => (0_usize..3, 0_usize..9).prop_map(|(by, n)| Act::Revoke(by, n)),
        2 => (0_usize..5).prop_map(Act::Keep),
    ]
}

#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) now_ms: u64,
    log: Vec<Event>,
    /// By an edit or by a revocation.
    absent: BTreeSet<u64>,
    states: BTreeMap<u64, State>,
    retention: Retention,
    /// What lies before this seq, or before this time, is absent by what was in force before.
    marks: (u64, u64),
}

#[derive(Debug, Clone, Default)]
struct State {
    version: Seq,
    edited: Option<Edit>,
    reactions: BTreeMap<String, BTreeSet<UserId>>,
}

impl State {
    fn frame(&self, seq: u64) -> MessageState {
        let counted = self.reactions.iter().filter(|(_, users)| !users.is_empty());
        let reactions = counted.map(|(reaction, users)| Reaction {
            reaction: reaction.clone(),
            count: u32::try_from(users.len()).unwrap(),
            mine: users.contains(&user(0)),
        });
        let edited = self.edited.clone();
        MessageState { seq: Seq(seq), version: self.version, edited, reactions: reactions.collect() }
    }

    fn take(&mut self, event: &Event) {
        self.version = event.seq;
        match &event.kind {
            EventKind::Edited { body, mentions, .. } => {
                let (body, mentions) = (body.clone(), mentions.clone());
                self.edited = Some(Edit { seq: event.seq, time_ms: event.time_ms, body, mentions });
            }
            EventKind::Reacted { reaction, on, .. } => {
                let users = self.reactions.entry(reaction.clone()).or_default();
                let changes =
                    if *on { users.insert(event.sender.clone()) } else { users.remove(&event.sender) };
                assert!(changes, "nobody reacts twice");
            }
            _ => {}
        }
    }
}

impl Server {
    pub(super) fn new() -> Self {
        Self { now_ms: 1_000, ..Self::default() }
    }

    pub(super) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    fn append(&mut self, sender: UserId, kind: EventKind) -> &Event {
        let event = Event { time_ms: self.now_ms, ..event(self.head() + 1, sender, kind) };
        self.log.push(event);
        self.log.last().unwrap()
    }

    fn marks(&self) -> (u64, u64) {
        let Retention { age_s, count, .. } = self.retention;
        let by_count = if count > 0 { (self.head() + 1).saturating_sub(count) } else { 0 };
        let by_age = if age_s > 0 { (self.now_ms + 1).saturating_sub(age_s * 1_000) } else { 0 };
        (self.marks.0.max(by_count), self.marks.1.max(by_age))
    }

    pub(super) fn is_absent(&self, seq: u64) -> bool {
        let event = &self.log[usize::try_from(seq).unwrap() - 1];
        let expires_ms = if let EventKind::Message { expires_ms, .. } = event.kind { expires_ms } else { 0 };
        let (mark, mark_ms) = self.marks();
        let has_expired = (1..=self.now_ms).contains(&expires_ms);
        self.absent.contains(&seq) || has_expired || seq < mark || event.time_ms < mark_ms
    }

    fn floor(&self) -> u64 {
        (1..=self.head()).find(|seq| !self.is_absent(*seq)).unwrap_or_else(|| self.head() + 1)
    }

    pub(super) fn act(&mut self, act: Act) {
        let there: Vec<u64> = self.states.keys().copied().filter(|seq| !self.is_absent(*seq)).collect();
        let target = |n: usize| there.get(n % there.len().max(1)).copied();
        match act {
            Act::Say(by, for_s) => {
                let expires_ms = if for_s > 0 { self.now_ms + for_s * 1_000 } else { 0 };
                let body = Bytes::from(format!("said {}", self.head() + 1));
                let reply_to = target(by).map(Seq);
                let kind = EventKind::Message { body, reply_to, mentions: vec![user(by + 1)], expires_ms };
                let seq = self.append(user(by), kind).seq;
                self.states.insert(seq.0, State::default());
            }
            Act::Other(by) => drop(self.append(user(by), EventKind::Renamed { title: String::new() }).seq),
            Act::Edit(by, n) => {
                let Some(target) = target(n) else { return };
                let body = Bytes::from(format!("edit {}", self.head() + 1));
                let edit = EventKind::Edited { seq: Seq(target), body, mentions: vec![user(by)] };
                let before = self.states[&target].edited.as_ref().map(|edit| edit.seq.0);
                self.absent.extend(before);
                let event = self.append(user(by), edit).clone();
                self.states.get_mut(&target).unwrap().take(&event);
            }
            Act::React(by, n, which) => {
                let Some(target) = target(n) else { return };
                let reaction = ["+1", "heart"][which % 2].to_owned();
                let users = self.states[&target].reactions.get(&reaction);
                let on = users.is_none_or(|users| !users.contains(&user(by)));
                let react = EventKind::Reacted { seq: Seq(target), reaction, on };
                let event = self.append(user(by), react).clone();
                self.states.get_mut(&target).unwrap().take(&event);
            }
            Act::Revoke(by, n) => {
                let Some(target) = target(n) else { return };
                self.append(user(by), EventKind::Revoked { seq: Seq(target) });
                let state = self.states.remove(&target).unwrap();
                self.absent.insert(target);
                self.absent.extend(state.edited.map(|edit| edit.seq.0));
            }
            Act::Keep(which) => {
                let retention = RETENTIONS[which % RETENTIONS.len()];
                if retention != self.retention {
                    self.marks = self.marks();
                    self.retention = retention;
                    self.append(user(0), EventKind::RetentionSet { retention });
                }
            }
        }
    }

    /// What a reader gets of these seqs by now.
    pub(super) fn events(&self, from: u64, to: u64) -> Vec<ClientEvent> {
        let mut told: Vec<ClientEvent> = Vec::new();
        for seq in from..=to {
            match told.last_mut() {
                Some(ClientEvent::Gap { to, .. }) if self.is_absent(seq) => *to = Seq(seq),
                _ if self.is_absent(seq) => told.push(ClientEvent::Gap { from: Seq(seq), to: Seq(seq) }),
                _ => told.push(ClientEvent::Event(self.log[usize::try_from(seq).unwrap() - 1].clone())),
            }
        }
        told
    }

    /// With a head from before the states were read, which the last of its events at least is.
    pub(super) fn page(&self, from: u64, to: u64) -> Page {
        let states = self.states.range(from..to + 1).filter(|(seq, _)| !self.is_absent(**seq));
        // As the protocol has it: only of those that were edited or reacted to, also where all reactions were
        // taken back.
        let is_something = |state: &MessageState| state.version > Seq::ZERO;
        let states = states.map(|(seq, state)| state.frame(*seq)).filter(is_something).collect();
        let floor = Seq(self.floor());
        Page {
            from: Seq(from),
            to: Seq(to),
            floor,
            ..page(self.events(from, to), states, to.midpoint(self.head()))
        }
    }

    /// A message as it was by all events up to `version`, but for edits behind the one that is shown which
    /// nobody can have any more.
    pub(super) fn was(&self, seq: Seq, version: Seq, shown: Option<Edited>) -> Message {
        let event = &self.log[usize::try_from(seq.0).unwrap() - 1];
        let mut state = State::default();
        let shown = shown.map_or(Seq::ZERO, |edited| edited.seq);
        for event in self.log.iter().filter(|event| event.seq <= version) {
            let is_edit = matches!(event.kind, EventKind::Edited { .. });
            if is_edit && event.seq > shown && self.is_absent(event.seq.0) {
                continue;
            }
            if let EventKind::Edited { seq: of, .. } | EventKind::Reacted { seq: of, .. } = event.kind
                && of == seq
            {
                state.take(event);
            }
        }
        let MessageState { edited, reactions, .. } = state.frame(seq.0);
        let published = Message::published(event).unwrap();
        let (body, mentions) = edited
            .as_ref()
            .map_or((published.body, published.mentions), |edit| (edit.body.clone(), edit.mentions.clone()));
        let edited = edited.map(|edit| Edited { seq: edit.seq, time_ms: edit.time_ms });
        let reactions = reactions.into_iter().map(|one| {
            let count = ReactionCount { count: one.count, mine: one.mine };
            (one.reaction, count)
        });
        Message { body, mentions, edited, reactions: reactions.collect(), version, ..published }
    }
}
