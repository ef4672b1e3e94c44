//! A client that was away ends with the view of one that was there.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::server::{Act, Server, acts};
use super::vectors::Told;
use super::*;

/// What happens next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Act(Act),
    /// So many seconds pass.
    Pass(u64),
    /// The client that comes and goes reads on, live.
    Read(u64),
    /// It begins anew at the head: what lies between is for pages.
    Jump,
    /// It begins anew so many seqs before where it is.
    Back(u64),
    /// It asks for a page of so many seqs that end here, which comes later.
    Ask(u64, u64),
    /// The oldest page that it has asked for comes.
    Take,
    /// It takes away what has expired, if it has read everything.
    Expire,
    /// It forgets what is so far from the head.
    Forget(u64),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        60 => acts().prop_map(Step::Act),
        6 => (1_u64..4).prop_map(Step::Pass),
        30 => (1_u64..6).prop_map(Step::Read),
        8 => Just(Step::Jump),
        2 => (1_u64..9).prop_map(Step::Back),
        10 => (1_u64..8, 0_u64..40).prop_map(|(count, back)| Step::Ask(count, back)),
        10 => Just(Step::Take),
        5 => Just(Step::Expire),
        1 => (0_u64..30).prop_map(Step::Forget),
    ];
    prop::collection::vec(step, 0..150)
}

/// One client hears everything as it happens. Another one reads by fits and starts, skips, and reads pages,
/// which come late.
#[derive(Debug)]
pub(super) struct World {
    server: Server,
    there: View,
    away: View,
    /// What the one that was away was told.
    pub(super) told: Vec<Told>,
    begin: Seq,
}

impl World {
    /// A third client, as `late`, reads everything at the end, in pages of so many seqs that meet.
    pub(super) fn of(steps: Vec<Step>, page_seqs: u64, late: &mut View) -> Result<Self, TestCaseError> {
        let server = Server::new();
        let mut world = Self { server, there: view(), away: view(), told: vec![], begin: Seq::ZERO };
        let (mut cursor, mut asked) = (0, VecDeque::new());
        for step in steps {
            let head = world.server.head();
            match step {
                Step::Act(act) => world.act(act),
                Step::Pass(seconds) => world.pass(seconds),
                Step::Read(count) => {
                    let to = head.min(cursor + count);
                    world.read(cursor + 1, to)?;
                    cursor = to;
                }
                Step::Jump => {
                    cursor = head;
                    world.tell(Told::Event(ClientEvent::CaughtUp { head: Seq(head) }))?;
                }
                Step::Back(seqs) => cursor = cursor.saturating_sub(seqs),
                Step::Ask(count, back) => {
                    let to = head.saturating_sub(back);
                    asked.push_back(world.server.page(to.saturating_sub(count - 1).max(1), to));
                }
                Step::Take => {
                    if let Some(page) = asked.pop_front() {
                        world.tell(Told::Page(page))?;
                    }
                }
                Step::Expire if cursor == head => {
                    let now_ms = world.server.now_ms;
                    world.tell(Told::Expire(now_ms))?;
                }
                Step::Expire => {}
                Step::Forget(back) => {
                    let seq = Seq(head.saturating_sub(back));
                    world.begin = world.begin.max(seq);
                    world.tell(Told::ForgetBefore(seq))?;
                }
            }
        }
        let mut to = world.server.head();
        world.read(cursor + 1, to)?;
        while to > 0 {
            let from = to.saturating_sub(page_seqs - 1).max(1);
            let page = world.server.page(from, to);
            late.page(&page);
            world.tell(Told::Page(page))?;
            to = from - 1;
        }
        for page in asked {
            world.tell(Told::Page(page))?;
        }
        Ok(world)
    }

    fn act(&mut self, act: Act) {
        let before = self.server.head();
        self.server.act(act);
        self.server.events(before + 1, self.server.head()).iter().for_each(|event| self.there.event(event));
        self.there.expire(self.server.now_ms);
    }

    fn pass(&mut self, seconds: u64) {
        self.server.now_ms += seconds * 1_000;
        self.there.expire(self.server.now_ms);
    }

    fn read(&mut self, from: u64, to: u64) -> Result<(), TestCaseError> {
        self.server.events(from, to).into_iter().try_for_each(|event| self.tell(Told::Event(event)))
    }

    /// No message is shown as it never was, and nothing is taken for absent that is there.
    fn tell(&mut self, told: Told) -> Result<(), TestCaseError> {
        told.apply(&mut self.away);
        // One that has expired unknown to the view may be about to go: a gap behind it hides events about it.
        let is_there = |message: &&Message| !self.server.is_absent(message.seq.0);
        for message in self.away.messages().filter(is_there) {
            let was = self.server.was(message.seq, message.version, message.edited);
            prop_assert_eq!(message, &was, "{:?}", told);
        }
        let mut absent = self.away.gaps().flat_map(|(from, to)| from.0..=to.0);
        let is_there = absent.find(|seq| !self.server.is_absent(*seq));
        prop_assert_eq!(is_there, None, "{:?}", told);
        self.told.push(told);
        Ok(())
    }
}

type Seen = (Vec<Message>, Vec<(Seq, Seq)>, Vec<(Seq, Seq)>);

fn seen(view: &View) -> Seen {
    // The version says what was heard of, not what is seen.
    let seen = |message: &Message| Message { version: Seq::ZERO, ..message.clone() };
    (view.messages().map(seen).collect(), view.gaps().collect(), view.told().collect())
}

proptest! {
    #[test]
    fn who_was_away_sees_what_one_sees_who_was_there(steps in steps(), page_seqs in 1_u64..20) {
        let mut late = view();
        let World { mut there, away, begin, .. } = World::of(steps, page_seqs, &mut late)?;
        prop_assert_eq!(seen(&late), seen(&there), "late");
        there.forget_before(begin);
        prop_assert_eq!(seen(&away), seen(&there), "away");
        prop_assert_eq!(away.waiting.count(), 0);
    }
}
