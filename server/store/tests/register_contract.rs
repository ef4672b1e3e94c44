//! What every view keeps about registers, run for each of them.

mod views;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{change, notice, record, removed, set};
use quoth_store::{Bounds, FjallView, Position, Record, Register, View};
use views::{CACHE_BYTES, Subject, each, flush_without_checkpoint};

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn get(view: &dyn View, conversation: &str, key: &str) -> Option<String> {
    let value = view.register(&name(conversation), key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// A page of registers: keys with their values.
fn page(view: &dyn View, conversation: &str, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(str::as_bytes);
    let registers = view.registers(&name(conversation), prefix.as_bytes(), after, limit).unwrap();
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    registers.iter().map(|(key, value)| format!("{}={}", text(key), text(value))).collect()
}

#[test]
fn every_conversation_is_listed_once() {
    each(|Subject { view, reopen, _dir }| {
        let all = |view: &dyn View| {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let page = view.conversations(after.as_ref(), 3).unwrap();
                assert!(page.len() <= 3);
                all.extend(page.iter().map(ToString::to_string));
                match page.last().filter(|_| page.len() == 3) {
                    Some(last) => after = Some(last.clone()),
                    None => return all,
                }
            }
        };
        assert_eq!(all(&*view), [""; 0]);
        let mut expected = Vec::new();
        for n in 0..10_u64 {
            let (with_events, without) = (format!("room {n}"), format!("$user/{n}"));
            let group = [record(&with_events, 1, 1), notice(&without, [set("a", "b")])];
            view.apply(Position(n + 1), &group).unwrap();
            expected.extend([with_events, without]);
        }
        expected.sort_unstable();
        let check = |view: &dyn View| {
            let mut listed = all(view);
            listed.sort_unstable();
            assert_eq!(listed, expected);
            let first = view.conversations(None, 1).unwrap();
            assert_eq!(view.conversations(None, 2).unwrap()[..1], first, "in one order");
        };
        check(&*view);
        view.flush().unwrap();
        drop(view);
        check(&*reopen());
    });
}

#[test]
fn the_latest_value_holds_and_survives_a_restart() {
    each(|Subject { view, reopen, _dir }| {
        assert_eq!(get(&*view, "a", "title"), None);
        assert_eq!(page(&*view, "a", "", None, 9), [""; 0]);
        view.apply(Position(1), &[change("a", 1, [set("title", "one"), set("mode", "")])]).unwrap();
        // Within a group, and within a record, the last one decides.
        let group = [
            change("a", 2, [set("title", "two"), removed("title"), set("gone", "x"), set("kept", "x")]),
            record("a", 3, 1),
            notice("a", [set("title", "three"), removed("kept"), set("kept", "y")]),
            change("b", 1, [set("title", "of b")]),
            change("a", 4, [removed("gone"), removed("never")]),
        ];
        view.apply(Position(2), &group).unwrap();
        let check = |view: &dyn View| {
            assert_eq!(page(view, "a", "", None, 9), ["kept=y", "mode=", "title=three"]);
            assert_eq!(page(view, "b", "", None, 9), ["title=of b"]);
            assert_eq!(get(view, "a", "title").as_deref(), Some("three"));
            assert_eq!(get(view, "a", "mode").as_deref(), Some(""));
            assert_eq!(get(view, "a", "gone"), None);
            assert_eq!(get(view, "a", "titl"), None);
            assert_eq!(get(view, "a", ""), None);
            let several = view.registers_at(&name("a"), &[b"title", b"gone", b"mode", b"title"]).unwrap();
            let texts: Vec<_> = several.iter().map(|value| value.as_deref()).collect();
            assert_eq!(texts, [Some(&b"three"[..]), None, Some(b""), Some(b"three")]);
            assert_eq!(view.registers_at(&name("never"), &[b"title"]).unwrap(), [None]);
        };
        check(&*view);
        view.flush().unwrap();
        check(&*view);
        drop(view);
        let view = reopen();
        check(&*view);
        view.apply(Position(3), &[change("a", 5, [removed("title")])]).unwrap();
        assert_eq!(get(&*view, "a", "title"), None);
        view.flush().unwrap();
        drop(view);
        assert_eq!(page(&*reopen(), "a", "", None, 9), ["kept=y", "mode="]);
    });
}

#[test]
fn pages_have_the_keys_of_a_prefix_in_their_order() {
    each(|Subject { view, .. }| {
        let keys = ["m", "m/", "m/a", "m/ab", "m/b", "m/c", "m0", "n"];
        let registers: Vec<_> = keys.iter().rev().map(|key| set(key, "")).collect();
        view.apply(Position(1), &[change("a", 1, registers), change("b", 1, [set("m/z", "")])]).unwrap();
        let keys = |prefix, after, limit| {
            let page = page(&*view, "a", prefix, after, limit);
            page.iter().map(|text| text.trim_end_matches('=').to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys("m/", None, 99), ["m/", "m/a", "m/ab", "m/b", "m/c"]);
        assert_eq!(keys("m/", None, 2), ["m/", "m/a"]);
        assert_eq!(keys("m/", Some("m/a"), 2), ["m/ab", "m/b"]);
        assert_eq!(keys("m/", Some("m/aa"), 1), ["m/ab"], "a key that is gone");
        assert_eq!(keys("m/", Some("m/c"), 9), [""; 0]);
        assert_eq!(keys("m/", Some("a"), 1), ["m/"], "before the prefix");
        assert_eq!(keys("m/", Some("n"), 9), [""; 0], "behind it");
        assert_eq!(keys("m/", None, 0), [""; 0]);
        assert_eq!(keys("", None, 99).len(), 8);
        assert_eq!(keys("zz", None, 99), [""; 0]);
        let longest = Bytes::from(vec![0xff; 255]);
        let register = Register { key: longest.clone(), value: Some("x".into()) };
        view.apply(Position(2), &[change("a", 2, [register])]).unwrap();
        let found = view.registers(&name("a"), &[0xff], None, 9).unwrap();
        assert_eq!(found, [(longest.clone(), Bytes::from("x"))]);
        assert_eq!(view.registers(&name("a"), &longest, Some(&longest), 9).unwrap(), []);
    });
}

#[test]
fn registers_alone_make_no_event() {
    each(|Subject { view, reopen, _dir }| {
        view.apply(Position(1), &[notice("a", [set("k", "v")])]).unwrap();
        view.apply(Position(2), &[notice("b", [removed("k")])]).unwrap();
        for of in ["a", "b"] {
            assert_eq!(view.bounds(&name(of)).unwrap(), Bounds { floor: Seq(1), head: Seq::ZERO });
        }
        view.flush().unwrap();
        drop(view);
        let view = reopen();
        view.apply(Position(3), &[record("a", 1, 1), notice("a", [set("k", "w")])]).unwrap();
        assert_eq!(view.bounds(&name("a")).unwrap().head, Seq(1));
        assert_eq!(get(&*view, "a", "k").as_deref(), Some("w"));
    });
}

/// A reader sees what all of a group made true, or nothing of it.
#[test]
fn readers_see_the_registers_of_whole_groups() {
    each(|Subject { view, .. }| {
        const GROUPS: u64 = 300;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for position in 1..=GROUPS {
                    let registers: Vec<_> =
                        (0..20).map(|key| set(&format!("k{key:02}"), &position.to_string())).collect();
                    view.apply(Position(position), &[change("a", position, registers)]).unwrap();
                }
            });
            scope.spawn(|| {
                while view.applied() < Position(GROUPS) {
                    view.flush().unwrap();
                }
            });
            while !writer.is_finished() {
                let registers = view.registers(&name("a"), b"", None, 99).unwrap();
                assert!(registers.windows(2).all(|pair| pair[0].1 == pair[1].1), "{registers:?}");
            }
        });
    });
}

/// A record: its conversation and key, the value or none, and whether it is a notice.
type Set = (u8, u8, Option<u8>, bool);

/// What happens to a view.
#[derive(Debug, Clone)]
enum Step {
    /// Groups come.
    Apply(Vec<Vec<Set>>),
    Flush,
    /// A flush writes tables, and a crash comes before its checkpoint.
    TornFlush,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![2 => any::<u8>().prop_map(Some), 1 => Just(None)];
    let record = (0..3_u8, 0..6_u8, value, any::<bool>());
    let step = prop_oneof![
        6 => vec(vec(record, 0..5), 1..4).prop_map(Step::Apply),
        2 => Just(Step::Flush),
        2 => Just(Step::TornFlush),
        2 => Just(Step::Crash),
    ];
    vec(step, 1..24)
}

const CONVERSATIONS: [&str; 3] = ["a", "b", "c"];

/// Registers as a fold of all that was applied.
type Model = BTreeMap<(String, Bytes), Bytes>;

/// The log of a run: groups, and what they come to.
#[derive(Default)]
struct Log {
    groups: Vec<Vec<Record>>,
    heads: BTreeMap<&'static str, u64>,
    model: Model,
}

impl Log {
    fn append(&mut self, records: &[Set]) {
        let mut group = Vec::new();
        for (conversation, key, value, is_notice) in records {
            let of = CONVERSATIONS[usize::from(*conversation)];
            let (key, value) = (format!("key {key}"), value.map(|value| value.to_string()));
            let register = match &value {
                Some(value) => set(&key, value),
                None => removed(&key),
            };
            match register.value.clone() {
                Some(value) => self.model.insert((of.to_owned(), key.into()), value),
                None => self.model.remove(&(of.to_owned(), key.into())),
            };
            group.push(if *is_notice {
                notice(of, [register])
            } else {
                let head = self.heads.entry(of).or_default();
                *head += 1;
                change(of, *head, [register])
            });
        }
        self.groups.push(group);
    }

    /// Applies what a view does not hold, as a start does.
    fn catch_up(&self, view: &dyn View) {
        let applied = view.applied();
        let groups = (1..).map(Position).zip(&self.groups).filter(|(position, _)| *position > applied);
        groups.for_each(|(position, group)| view.apply(position, group).unwrap());
    }

    fn assert_held(&self, view: &dyn View) {
        let mut held = Model::new();
        for of in CONVERSATIONS {
            for (key, value) in view.registers(&name(of), b"", None, 99).unwrap() {
                assert_eq!(view.register(&name(of), &key).unwrap().as_ref(), Some(&value));
                held.insert((of.to_owned(), key), value);
            }
            let head = self.heads.get(of).copied().unwrap_or_default();
            assert_eq!(view.bounds(&name(of)).unwrap().head, Seq(head));
        }
        assert_eq!(held, self.model);
    }
}

/// Whatever is flushed, in part or not at all, when a crash comes: groups that are applied again in their
/// order come to what they came to, and bring back nothing that was removed.
#[test]
fn groups_that_are_applied_again_converge() {
    let run = |steps: Vec<Step>| {
        let dir = tempfile::tempdir().unwrap();
        let open = || FjallView::open(dir.path(), CACHE_BYTES).unwrap().with_window_bytes(500);
        let (mut view, mut log) = (open(), Log::default());
        for step in steps {
            match step {
                Step::Apply(groups) => groups.iter().for_each(|group| log.append(group)),
                Step::Flush => drop(view.flush().unwrap()),
                Step::TornFlush => {
                    if FjallView::checkpoint(dir.path()).unwrap() < Some(view.applied()) {
                        flush_without_checkpoint(&view, dir.path());
                    }
                }
                Step::Crash => {
                    drop(view);
                    view = open();
                }
            }
            log.catch_up(&view);
            log.assert_held(&view);
        }
        Ok(())
    };
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&steps(), run).unwrap();
}
