//! A conversation in which everything is done to messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::limits::{BODY_BYTES_MAX, MENTIONS_MAX, REACTIONS_MAX};
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::message::{Edit, MessageState as StateFrame};
use quoth_protocol::{Code, ConversationName, Pattern, Seq, UserId};

use super::registers::{ABSENT, REACTION, edit_key, reaction_key, reactions_prefix, summary_key};
use super::{
    Absent, Alteration, Context, MessageState, REMOVED_REACTIONS_MAX, Summary, Target, absent_key, decide,
};
use crate::authorize::{Grant, Place, Standing};
use crate::membership::testing::{World, grant, user};
use crate::membership::{Actor, Change, Fact, Refusal, Rules};
use crate::register::decode;

const USERS: [&str; 4] = ["ada", "bob", "cy", "dee"];

/// A conversation that is not managed, as a server has it.
struct Room {
    log: Vec<Event>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    states: BTreeMap<Seq, MessageState>,
    absent: Absent,
    rules: Rules,
}

fn grant_of(name: &str) -> Grant {
    let all = || Some(vec![Pattern::new("*")]);
    Grant { read: all(), write: all(), ..Grant::of_membership(user(name)) }
}

fn standing(grant: &Grant) -> Standing {
    let name = ConversationName::new("room").unwrap();
    Standing::new(Actor::User(grant), Place { name: &name, state: None, is_blocked: false })
}

impl Room {
    fn new() -> Self {
        let (log, rows, states) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        Self { log, rows, states, absent: Absent::default(), rules: Rules::default() }
    }

    fn head(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    fn happens(&mut self, sender: &str, kind: EventKind) -> Seq {
        let seq = self.head().next();
        self.log.push(Event { seq, time_ms: seq.0, sender: user(sender), origin_time_ms: None, kind });
        seq
    }

    fn say(&mut self, sender: &str, body: &str) -> Seq {
        self.happens(sender, EventKind::message(Bytes::copy_from_slice(body.as_bytes())))
    }

    fn target(&self, seq: Seq) -> Option<Target> {
        let event = self.log.get(usize::try_from(seq.0.checked_sub(1)?).unwrap())?;
        let is_message = matches!(event.kind, EventKind::Message { .. });
        is_message.then(|| Target {
            seq,
            sender: event.sender.clone(),
            time_ms: event.time_ms,
            offset: 0,
            expires_ms: 0,
        })
    }

    /// A user wants something of a message; says the event's seq, or zero when nothing has to change.
    fn alter(&mut self, who: &str, seq: Seq, alteration: &Alteration) -> Result<Seq, Refusal> {
        let (grant, target) = (grant_of(who), self.target(seq));
        let state = self.states.entry(seq).or_default();
        let context = Context { now_ms: 0, rules: &self.rules, standing: &standing(&grant), state: None };
        let target = target.as_ref().map(|target| (target, &*state));
        let Some(kind) = decide(Actor::User(&grant), alteration, target, context)? else {
            return Ok(Seq::ZERO);
        };
        let at = self.happens(who, kind);
        let event = &self.log[self.log.len() - 1];
        let fact = Fact { seq: at, time_ms: event.time_ms, sender: &event.sender, kind: &event.kind };
        let state = self.states.entry(seq).or_default();
        let altered = state.apply(seq, fact);
        for (key, value) in altered.registers {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
        altered.absent.iter().for_each(|gone| self.absent.insert(*gone, at));
        let stored = MessageState::load(seq, self.rows_of(seq)).unwrap();
        assert_eq!(stored, self.states[&seq], "registers have all of it");
        Ok(at)
    }

    fn rows_of(&self, seq: Seq) -> Vec<(&Vec<u8>, &Vec<u8>)> {
        let prefix = reactions_prefix(seq);
        let keys = [edit_key(seq), summary_key(seq), absent_key(seq)];
        let is_its = |key: &Vec<u8>| key.starts_with(&prefix) || keys.contains(key);
        self.rows.iter().filter(|(key, _)| is_its(key)).collect()
    }

    /// What there is from `from` up to and including `to`: events, and gaps in place of what is absent.
    fn read(&self, from: Seq, to: Seq) -> (Vec<Event>, Vec<(Seq, Seq)>) {
        let events = self.log.iter().filter(|event| (from..=to).contains(&event.seq));
        let events = events.filter(|event| !self.absent.contains(event.seq)).cloned().collect();
        (events, self.absent.within(from, to).collect())
    }

    /// As a page tells it, from registers alone.
    fn state_frame(&self, seq: Seq, me: &UserId) -> Option<StateFrame> {
        let summary = Summary::decode(self.rows.get(&summary_key(seq))?).unwrap();
        let edit = self.rows.get(&edit_key(seq)).map(|row| decode::<Edit>(row).unwrap());
        assert_eq!(summary.edited, edit.as_ref().map_or(Seq::ZERO, |edit| edit.seq));
        let mine = |reaction: &str| self.rows.contains_key(&reaction_key(seq, reaction, me));
        Some(summary.into_state(seq, edit, mine))
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn happens_something(room: &mut Room, random: &mut Random) {
    let who = USERS[usize::try_from(random.below(4)).unwrap()];
    let seq = Seq(1 + random.below(room.head().0 + 2));
    let alteration = match random.below(10) {
        0..=2 => {
            let text = format!("message {}", room.head());
            room.say(who, &text);
            return;
        }
        3 => Alteration::Revoke,
        4 | 5 => {
            let body = Bytes::from(format!("edited {}", random.below(3)));
            Alteration::Edit { body, mentions: vec![user(who)] }
        }
        _ => {
            let reaction = ["👍", "👎", "+1"][usize::try_from(random.below(3)).unwrap()].to_owned();
            Alteration::React { reaction, on: random.below(3) > 0 }
        }
    };
    match room.alter(who, seq, &alteration) {
        Ok(_) => {}
        Err(refusal) => {
            assert!([Code::NOT_FOUND_MESSAGE, Code::FORBIDDEN].contains(&refusal.code), "{refusal:?}");
        }
    }
}

/// Readers and pages come to the same: what the events come to that are left, and what the registers say.
#[test]
fn the_events_that_are_left_come_to_the_states() {
    for seed in 0..300 {
        let (mut room, mut random) = (Room::new(), Random(seed));
        (0..120).for_each(|_| happens_something(&mut room, &mut random));
        let (events, _) = room.read(Seq(1), room.head());
        let mut anew: BTreeMap<Seq, MessageState> = BTreeMap::new();
        for event in &events {
            let (EventKind::Edited { seq, .. } | EventKind::Reacted { seq, .. }) = event.kind else {
                continue;
            };
            let fact =
                Fact { seq: event.seq, time_ms: event.time_ms, sender: &event.sender, kind: &event.kind };
            let altered = anew.entry(seq).or_default().apply(seq, fact);
            assert!(altered.absent.is_empty(), "of its edits one is left, seed {seed}");
        }
        let messages: Vec<Seq> = events
            .iter()
            .filter(|event| matches!(event.kind, EventKind::Message { .. }))
            .map(|event| event.seq)
            .collect();
        assert!(messages.len() > 5);
        for seq in messages {
            let state = room.states.get(&seq).cloned().unwrap_or_default();
            let left = anew.remove(&seq).unwrap_or_default();
            assert!(!state.is_absent() && left.edited() == state.edited(), "seed {seed}");
            assert_eq!(left.reactions_count(), state.reactions_count(), "seed {seed}");
            for me in USERS.map(user) {
                let frame =
                    room.state_frame(seq, &me).unwrap_or(Summary::default().into_state(seq, None, |_| false));
                assert_eq!(frame.edited.as_ref(), left.edited());
                assert_eq!(frame.reactions.len(), left.reactions_count());
                for one in &frame.reactions {
                    assert_eq!(one.mine, left.has_reacted(&one.reaction, &me), "seed {seed}");
                    let count = USERS.iter().filter(|of| left.has_reacted(&one.reaction, &user(of))).count();
                    assert_eq!(one.count as usize, count, "seed {seed}");
                }
            }
        }
        let absent: Vec<_> = room.rows.iter().filter(|(key, _)| key.starts_with(&ABSENT)).collect();
        assert_eq!(Absent::load(absent).unwrap(), room.absent, "registers have all of it");
    }
}

#[test]
fn no_text_comes_back_that_was_taken_back() {
    let mut room = Room::new();
    let seq = room.say("ada", "first words");
    let edit =
        |text: &'static str| Alteration::Edit { body: Bytes::from_static(text.as_bytes()), mentions: vec![] };
    let second = room.alter("ada", seq, &edit("second words")).unwrap();
    let third = room.alter("ada", seq, &edit("third words")).unwrap();
    assert_eq!(room.alter("ada", seq, &edit("third words")), Ok(Seq::ZERO), "the same again is done");
    assert!(room.absent.contains(second) && !room.absent.contains(third) && !room.absent.contains(seq));
    let revoked = room.alter("ada", seq, &Alteration::Revoke).unwrap();
    assert_eq!(room.absent.within(Seq(1), Seq(9)).collect::<Vec<_>>(), [(seq, third)]);
    let kinds: Vec<_> = room.read(Seq(1), room.head()).0.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Revoked { seq }]);
    assert!(room.rows.keys().all(|key| key.starts_with(&ABSENT)), "nothing else is kept of it");
    for again in [Alteration::Revoke, edit("x"), Alteration::React { reaction: "+1".into(), on: true }] {
        assert_eq!(room.alter("ada", seq, &again).unwrap_err().code, Code::NOT_FOUND_MESSAGE);
        assert_eq!(room.alter("ada", revoked, &again).unwrap_err().code, Code::NOT_FOUND_MESSAGE);
        assert_eq!(room.alter("ada", Seq(99), &again).unwrap_err().code, Code::NOT_FOUND_MESSAGE);
    }
}

/// However many have reacted, the record of a revocation stays small.
#[test]
fn a_revocation_removes_so_many_reactions_itself() {
    let mut state = MessageState::default();
    let (seq, mut rows) = (Seq(1), BTreeMap::new());
    let mut apply = |state: &mut MessageState, at: u64, sender: &str, kind: &EventKind| {
        let sender = UserId::new(sender).unwrap();
        let altered = state.apply(seq, Fact { seq: Seq(at), time_ms: at, sender: &sender, kind });
        let changed = altered.registers.len();
        for (key, value) in altered.registers {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        (changed, rows.clone())
    };
    let users = REMOVED_REACTIONS_MAX as u64 + 200;
    for user in 0..users {
        let reacted = EventKind::Reacted { seq, reaction: "+1".to_owned(), on: true };
        apply(&mut state, 2 + user, &format!("u{user}"), &reacted);
    }
    let (changed, rows) = apply(&mut state, 2 + users, "ada", &EventKind::Revoked { seq });
    assert!(changed <= REMOVED_REACTIONS_MAX + 3, "{changed}");
    let left = rows.keys().filter(|key| key.starts_with(&REACTION)).count();
    assert_eq!(left, 200, "its record is bounded");
    let of_message =
        rows.iter().filter(|(key, _)| [REACTION, ABSENT].iter().any(|kind| key.starts_with(kind)));
    let loaded = MessageState::load(seq, of_message).unwrap();
    assert!(loaded.is_absent() && loaded.reactions_count() == 0 && loaded == state);
}

#[test]
fn messages_have_so_many_reactions_and_mentions() {
    let mut room = Room::new();
    let seq = room.say("ada", "words");
    let react = |reaction: String, on| Alteration::React { reaction, on };
    for n in 0..REACTIONS_MAX {
        room.alter("bob", seq, &react(format!("r{n}"), true)).unwrap();
    }
    let refused = room.alter("cy", seq, &react("more".into(), true)).unwrap_err();
    assert_eq!(refused.code, Code::TOO_MANY);
    assert!(
        room.alter("cy", seq, &react("r7".into(), true)).unwrap() > Seq::ZERO,
        "one that is there already"
    );
    assert_eq!(room.alter("cy", seq, &react("r7".into(), true)), Ok(Seq::ZERO));
    assert_eq!(room.alter("cy", seq, &react("r8".into(), false)), Ok(Seq::ZERO));
    assert_eq!(
        room.state_frame(seq, &user("cy")).unwrap().reactions.iter().filter(|one| one.mine).count(),
        1
    );
    for wrong in ["", &"x".repeat(33), "a\0b"] {
        let refused = room.alter("cy", seq, &react(wrong.to_owned(), true)).unwrap_err();
        assert_eq!(refused.code, Code::INVALID_REQUEST);
    }
    let edit = |length: usize, mentions: usize| {
        let mentions = (0..mentions).map(|n| user(&format!("u{n}"))).collect();
        Alteration::Edit { body: vec![b'x'; length].into(), mentions }
    };
    assert!(room.alter("ada", seq, &edit(BODY_BYTES_MAX, MENTIONS_MAX)).is_ok());
    assert_eq!(room.alter("ada", seq, &edit(1, MENTIONS_MAX + 1)).unwrap_err().code, Code::TOO_MANY);
    assert_eq!(room.alter("ada", seq, &edit(BODY_BYTES_MAX + 1, 0)).unwrap_err().code, Code::TOO_LARGE);
}

/// In a managed conversation the state that is looked at is that of the decision.
#[test]
fn who_may_is_decided_by_role_and_time() {
    let mut world = World::group("room");
    world
        .by("owner", Change::SetMember { user: user("second"), role: Role::Member, permissions: None })
        .unwrap();
    assert_eq!(world.state().kind(), ConversationKind::Group);
    let rules = Rules { edit_within_ms: 10, revoke_within_ms: 20, ..Rules::default() };
    let code = |world: &World, who: &str, sender: &str, age_ms: u64, alteration: &Alteration| {
        let grant = grant(who);
        let actor = Actor::User(&grant);
        let now_ms = world.now_ms + age_ms;
        let target =
            Target { seq: Seq(9), sender: user(sender), time_ms: world.now_ms, offset: 0, expires_ms: 0 };
        let state = MessageState::default();
        let standing = &Standing::new(actor, world.place());
        let context = Context { now_ms, rules: &rules, standing, state: world.state.as_ref() };
        decide(actor, alteration, Some((&target, &state)), context).err().map(|refusal| refusal.code)
    };
    let edit = Alteration::Edit { body: Bytes::new(), mentions: vec![] };
    let (forbidden, too_old) = (Some(Code::FORBIDDEN), Some(Code::TOO_OLD));
    assert_eq!(code(&world, "member", "member", 10, &edit), None);
    assert_eq!(code(&world, "member", "member", 11, &edit), too_old);
    assert_eq!(code(&world, "owner", "owner", 11, &edit), too_old, "of everybody");
    assert_eq!(code(&world, "owner", "member", 1, &edit), forbidden, "nobody speaks for another one");
    assert_eq!(code(&world, "member", "member", 20, &Alteration::Revoke), None);
    assert_eq!(code(&world, "member", "member", 21, &Alteration::Revoke), too_old);
    assert_eq!(code(&world, "member", "second", 1, &Alteration::Revoke), forbidden);
    assert_eq!(code(&world, "admin", "member", 21, &Alteration::Revoke), None, "always");
    assert_eq!(code(&world, "admin", "owner", 1, &Alteration::Revoke), forbidden);
    world.by("owner", Change::Remove { user: user("second") }).unwrap();
    assert_eq!(code(&world, "admin", "second", 1, &Alteration::Revoke), None, "of who has gone");
    assert_eq!(code(&world, "second", "second", 1, &Alteration::Revoke), forbidden);
    let operator = Actor::Operator { sender: &user("key") };
    let state = MessageState::default();
    let target = Target { seq: Seq(9), sender: user("owner"), time_ms: 0, offset: 0, expires_ms: 0 };
    let standing = &Standing::new(operator, world.place());
    let context = Context { now_ms: u64::MAX, rules: &rules, standing, state: world.state.as_ref() };
    let target = Some((&target, &state));
    assert_eq!(
        decide(operator, &Alteration::Revoke, target, context),
        Ok(Some(EventKind::Revoked { seq: Seq(9) }))
    );
    assert_eq!(decide(operator, &edit, target, context), Err(Refusal::FORBIDDEN));
    let sender = Actor::Operator { sender: &user("owner") };
    let edited = decide(sender, &edit, target, context).unwrap();
    assert!(matches!(edited, Some(EventKind::Edited { .. })), "in the sender's name, however old it is");
}
