//! A million random things that happen, after which what is counted by windows is what the events come to.

use std::collections::{BTreeMap, BTreeSet};

use quoth_protocol::limits::UNREAD_MAX;
use quoth_protocol::{Seq, UserId};

use super::{Edited, Life, Posted, Unread, Window, count};

const STEPS: u32 = 1_000_000;

/// One in so many steps is followed by a look of one user.
const LOOKS: u64 = 50;

/// A small generator: every run is the same one.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64 (Steele, Lea and Flood 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A conversation, all of it, and the window that a server would have of it.
struct World {
    random: Random,
    users: Vec<UserId>,
    /// As they stand, and whom they mentioned first.
    messages: Vec<Posted>,
    mentioned: BTreeMap<Seq, Vec<UserId>>,
    edits: Vec<Edited>,
    head: Seq,
    floor: Seq,
    absent: BTreeSet<Seq>,
    read: BTreeMap<UserId, Seq>,
    window: Window,
}

/// How often what happened.
#[derive(Default)]
struct Seen {
    looks: u32,
    full: u32,
    mentions: u32,
    further_back: u32,
    /// Counts that change by time alone.
    ending: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let users = (0..12).map(|n| UserId::new(format!("user {n}")).unwrap()).collect();
        Self {
            random: Random(seed),
            users,
            messages: Vec::new(),
            mentioned: BTreeMap::new(),
            edits: Vec::new(),
            head: Seq::ZERO,
            floor: Seq(1),
            absent: BTreeSet::new(),
            read: BTreeMap::new(),
            window: Window::default(),
        }
    }

    fn user(&mut self) -> UserId {
        let at = self.random.below(self.users.len() as u64);
        self.users[usize::try_from(at).unwrap()].clone()
    }

    fn some_users(&mut self) -> Vec<UserId> {
        let count = if self.random.below(8) == 0 { self.random.below(4) } else { 0 };
        (0..count).map(|_| self.user()).collect()
    }

    /// What the store has behind one seq up to another one: messages as they were said, without those that
    /// are absent, and edits.
    fn read(&self, after: Seq, to: Seq) -> (Vec<Posted>, Vec<Edited>) {
        let messages = self.messages.iter().skip(self.messages.partition_point(|one| one.life.seq <= after));
        let messages = messages.take_while(|one| one.life.seq <= to);
        let messages = messages.filter(|one| !self.absent.contains(&one.life.seq));
        let said = |one: &Posted| Posted { mentions: self.mentioned[&one.life.seq].clone(), ..one.clone() };
        let edits = self.edits.iter().skip(self.edits.partition_point(|one| one.seq <= after));
        (messages.map(said).collect(), edits.take_while(|one| one.seq <= to).cloned().collect())
    }

    fn some_seq(&mut self, back: u64) -> Seq {
        Seq(self.head.0.saturating_sub(self.random.below(back)))
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..60 => {
                self.head = self.head.next();
                // Now and then one of them says most of it, so that what others have said lies far back.
                let is_monologue = self.head.0 / 20_000 % 2 == 1 && self.random.below(4) != 0;
                let (seq, sender) =
                    (self.head, if is_monologue { self.users[0].clone() } else { self.user() });
                let mentions = self.some_users();
                self.mentioned.insert(seq, mentions.clone());
                let expires_ms = if self.random.below(6) == 0 { seq.0 + self.random.below(6_000) } else { 0 };
                self.messages.push(Posted {
                    life: Life { seq, time_ms: seq.0, expires_ms },
                    sender,
                    mentions,
                });
            }
            // What is no message has a place all the same.
            60..62 => self.head = self.head.next(),
            62..65 => {
                let of = self.some_seq(1_500);
                self.head = self.head.next();
                let edited = Edited { seq: self.head, of, mentions: self.some_users() };
                if let Ok(at) = self.messages.binary_search_by_key(&of, |posted| posted.life.seq) {
                    self.messages[at].mentions.clone_from(&edited.mentions);
                }
                self.edits.push(edited);
            }
            65..75 => {
                let seq = self.some_seq(1_500);
                self.absent.insert(seq);
                self.window.remove(seq);
            }
            75..90 => {
                // The last ones read seldom, so that what they have not read is beyond what is counted.
                let (user, seq) = (self.user(), self.some_seq(400));
                let is_seldom = user == self.users[0] || user == self.users[1];
                if !is_seldom || self.random.below(600) == 0 {
                    let read = self.read.entry(user).or_default();
                    *read = seq.max(*read);
                }
            }
            90 => {
                // Often enough that little is kept, or so seldom that a window has none of it any more.
                let is_often = (self.head.0 / 40_000).is_multiple_of(2);
                if is_often || self.random.below(40) == 0 {
                    let kept = 300 + self.random.below(if is_often { 4_000 } else { 8_000 });
                    self.floor = self.floor.max(Seq(self.head.0.saturating_sub(kept)));
                }
            }
            91 => {
                // The server has no room for it any more, or has come upon it a moment ago.
                if self.random.below(50) == 0 {
                    let last = self.some_seq(500);
                    self.window = Window::behind(last);
                }
            }
            _ => self.catch_up(),
        }
    }

    /// The window hears of some of what has happened.
    fn catch_up(&mut self) {
        let last = self.window.last();
        let to = Seq(last.0 + self.random.below(self.head.0 - last.0 + 1));
        self.append(to);
    }

    fn append(&mut self, to: Seq) {
        let (messages, edits) = self.read(self.window.last(), to);
        self.window.append(to, messages);
        edits.iter().for_each(|edited| self.window.edit(edited));
    }

    fn look(&mut self, seen: &mut Seen) {
        let me = self.user();
        let read = self.read.get(&me).copied().unwrap_or_default();
        let (absent, floor, now_ms) = (&self.absent, self.floor, self.head.0);
        let at = |now_ms: u64| {
            move |life: Life| until_ms(life, floor, now_ms).filter(|_| !absent.contains(&life.seq))
        };
        let plain = count(self.messages.iter().rev(), read, &me, at(now_ms));
        // One by one, what is counted stays the same up to there and no longer.
        let counted = |now_ms: u64| {
            let unread = self.messages.iter().rev().take_while(|one| one.life.seq > read);
            let unread = unread.filter(|one| one.sender != me && at(now_ms)(one.life).is_some());
            unread.map(|one| one.life.seq).take(UNREAD_MAX as usize).collect::<Vec<_>>()
        };
        if plain.until_ms < u64::MAX {
            assert_eq!(counted(now_ms), counted(plain.until_ms - 1));
            assert_ne!(counted(now_ms), counted(plain.until_ms));
            seen.ending += 1;
        } else {
            assert_eq!(counted(now_ms), counted(u64::MAX));
        }
        let by_window = self.by_window(&me, read, seen);
        assert_eq!(by_window, plain, "{me} has read up to {read} of {}", self.head);
        seen.looks += 1;
        seen.full += u32::from(plain.messages == UNREAD_MAX);
        seen.mentions += u32::from(plain.mentions > 0);
    }

    fn by_window(&mut self, me: &UserId, read: Seq, seen: &mut Seen) -> Unread {
        self.append(self.head);
        loop {
            // What is revoked is removed; the rest is judged at each look.
            let judged = |life: Life| until_ms(life, self.floor, self.head.0);
            let missing = match self.window.count(self.floor, read, me, judged) {
                Ok(unread) => return unread,
                Err(missing) => missing.0,
            };
            seen.further_back += 1;
            let before = Seq(missing.0.saturating_sub(1 + self.random.below(256)));
            let (messages, edits) = self.read(before, missing);
            edits.iter().for_each(|edited| self.window.edit(edited));
            self.window.prepend(before, messages);
        }
    }
}

/// Until when a message is there, where as many milliseconds have passed as there are events.
fn until_ms(life: Life, floor: Seq, now_ms: u64) -> Option<u64> {
    let is_over = life.expires_ms > 0 && life.expires_ms <= now_ms;
    let until_ms = if life.expires_ms > 0 { life.expires_ms } else { u64::MAX };
    (life.seq >= floor && !is_over).then_some(until_ms)
}

#[test]
fn windows_count_what_the_events_come_to() {
    let mut seen = Seen::default();
    let mut world = World::new(7);
    for step in 0..STEPS {
        world.step();
        if world.random.below(LOOKS) == 0 {
            world.look(&mut seen);
        }
        // A log that is as long as a test is would make each plain count long too.
        if step % 10_000 == 0 {
            let gone = world.messages.partition_point(|posted| posted.life.seq < world.floor);
            world.messages.drain(..gone);
            world.mentioned = world.mentioned.split_off(&world.floor);
            let gone = world.edits.partition_point(|edited| edited.seq < world.floor);
            world.edits.drain(..gone);
            world.absent = world.absent.split_off(&world.floor);
        }
    }
    let Seen { looks, full, mentions, further_back, ending } = seen;
    assert!(
        looks > STEPS / 60 && full > 300 && mentions > 1_000 && further_back > 500 && ending > 5_000,
        "{looks} {full} {mentions} {further_back} {ending}"
    );
}
