//! What `retention plan` says to people. Pure.

use std::collections::HashMap;

use quoth_core::retention::Classes;
use quoth_store::Class;

use super::amount::{count, events, size, span};
use crate::engine::{ClassUse, ConversationPlan, Loss, Overview, WindowPlan};

/// Conversations that a plan names, of each kind.
pub(super) const CONVERSATIONS_TOLD: usize = 20;

/// A plan by these classes. `loss` is what they take that those of the last start do not; `None`: they are the
/// same.
pub(super) fn text(overview: &Overview, loss: Option<&Loss>, classes: &Classes, now_ms: u64) -> String {
    let mut text = String::new();
    match loss {
        Some(loss) => {
            loss.classes.iter().for_each(|class| text.push_str(&class_line(class)));
            text.push_str(&changed(loss));
        }
        None => classes.all().iter().for_each(|class| text.push_str(&format!("class  {class}\n"))),
    }
    for window in &overview.windows {
        text.push_str(&window_line(window, now_ms));
    }
    let news = loss.map(|loss| loss.conversations.as_slice()).unwrap_or_default();
    let news: HashMap<_, _> = news.iter().map(|plan| (&plan.conversation, plan)).collect();
    for plan in overview.conversations.iter().take(CONVERSATIONS_TOLD) {
        text.push_str(&conversation_line(plan, news.get(&plan.conversation).copied(), now_ms));
    }
    if overview.conversations.len() >= CONVERSATIONS_TOLD {
        text.push_str("these are the conversations that lose most; --json has all\n");
    }
    if overview.held > 0 {
        text.push_str(&held(overview));
    }
    text
}

fn class_line(ClassUse { class, conversations, own }: &ClassUse) -> String {
    let own = match own {
        0 => String::new(),
        own => format!(", {own} of them with a retention of their own"),
    };
    let used = match conversations {
        0 => "no conversation is of it".to_owned(),
        conversations => count(*conversations, "conversation"),
    };
    format!("class  {class}  {used}{own}\n")
}

/// What a start would make of classes that are others than those of the last one.
fn changed(loss: &Loss) -> String {
    let takes = match loss.events {
        0 => "the next start takes nothing more by them".to_owned(),
        _ => format!(
            "the next start takes {} of {} more by them, for good",
            events(loss.events, loss.bytes),
            count(loss.affected, "conversation")
        ),
    };
    format!("changed  the classes are not those of the last start: {takes}\n")
}

fn window_line(window: &WindowPlan, now_ms: u64) -> String {
    let WindowPlan { class, window: number, conversations, bytes, expired_bytes, .. } = window;
    format!(
        "window {number} of what is kept {}  {}  {}  {} absent  {}\n",
        kept_for(*class),
        count(*conversations, "conversation"),
        size(*bytes),
        size(*expired_bytes),
        when(window, now_ms)
    )
}

/// What a conversation has lost, and what it loses by classes that nobody has started with.
fn conversation_line(plan: &ConversationPlan, new: Option<&ConversationPlan>, now_ms: u64) -> String {
    let ConversationPlan { conversation, next_ms, .. } = plan;
    let (new_events, new_bytes) = new.map_or((0, 0), |new| (new.events, new.bytes));
    let already = (plan.events.saturating_sub(new_events), plan.bytes.saturating_sub(new_bytes));
    let mut told = Vec::new();
    if already.0 > 0 || new_events == 0 {
        told.push(format!("{} absent already", events(already.0, already.1)));
    }
    if new_events > 0 {
        told.push(format!("{} absent from the next start on", events(new_events, new_bytes)));
    }
    if let Some(next_ms) = next_ms {
        told.push(match next_ms.checked_sub(now_ms) {
            Some(0) | None => "the next goes now".to_owned(),
            Some(left_ms) => format!("the next goes in {}", span(left_ms)),
        });
    }
    format!("conversation {}  {}\n", conversation.as_str().escape_debug(), told.join(", "))
}

fn held(overview: &Overview) -> String {
    let names = overview.holds.iter().take(CONVERSATIONS_TOLD);
    let names: Vec<_> = names.map(|hold| hold.conversation.as_str().escape_debug().to_string()).collect();
    let more = if (names.len() as u64) < overview.held { ", …" } else { "" };
    let what = count(overview.held, "conversation");
    format!("held  {what}, where nothing goes until that ends: {}{more}\n", names.join(", "))
}

/// For how long, at most, what lies in the windows of a class is kept.
fn kept_for(class: Class) -> String {
    match class.name() {
        "no_age" => "without an age".to_owned(),
        "rewritten" => "beside others that went".to_owned(),
        age => format!("for {}", age.replace('_', " ")),
    }
}

/// When a window goes.
fn when(window: &WindowPlan, now_ms: u64) -> String {
    let left_ms = window.goes_ms.map(|goes_ms| goes_ms.saturating_sub(now_ms));
    match (left_ms, window.is_closed) {
        (None, _) if window.expired_bytes > 0 => {
            "stays, as far as can be foreseen; what is absent is freed when it is rewritten".to_owned()
        }
        (None, _) => "stays, as far as can be foreseen".to_owned(),
        (Some(0), true) => "goes now".to_owned(),
        (Some(0), false) => "goes once it is closed, when it is full or its time is over".to_owned(),
        (Some(left_ms), true) => format!("goes in {}", span(left_ms)),
        (Some(left_ms), false) => format!("goes in {}, if it is closed by then", span(left_ms)),
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::ConversationName;

    use super::*;
    use crate::engine::Hold;

    fn name(text: &str) -> ConversationName {
        ConversationName::new(text).unwrap()
    }

    fn plan(conversation: &str, events: u64, next_ms: Option<u64>) -> ConversationPlan {
        ConversationPlan { conversation: name(conversation), events, bytes: events * 10, next_ms }
    }

    #[test]
    fn a_window_says_when_it_goes() {
        let window = |is_closed, goes_ms, expired_bytes| WindowPlan {
            class: Class::of_age_s(86_400),
            window: 3,
            is_closed,
            conversations: 1,
            bytes: 10,
            expired_bytes,
            goes_ms,
        };
        for (window, expected) in [
            (window(true, None, 0), "stays, as far as can be foreseen"),
            (window(false, None, 0), "stays, as far as can be foreseen"),
            (
                window(false, None, 5),
                "stays, as far as can be foreseen; what is absent is freed when it is rewritten",
            ),
            (window(true, Some(500), 10), "goes now"),
            (window(false, Some(500), 10), "goes once it is closed, when it is full or its time is over"),
            (window(true, Some(61_000), 0), "goes in 1 min"),
            (window(false, Some(61_000), 0), "goes in 1 min, if it is closed by then"),
        ] {
            let head = format!(
                "window 3 of what is kept for a day  1 conversation  10 B  {} B absent",
                window.expired_bytes
            );
            assert_eq!(window_line(&window, 1_000), format!("{head}  {expected}\n"));
        }
        assert_eq!(kept_for(Class::default()), "without an age");
    }

    #[test]
    fn what_is_absent_and_what_a_start_takes_are_told_apart_with_what_is_held() {
        let classes = Classes::new(vec!["rest:*:count=2".parse().unwrap()]);
        let overview = Overview {
            conversations: vec![
                plan("team", 26, None),
                plan("g2", 11, Some(61_000)),
                plan("both", 3, None),
                plan("young", 0, Some(0)),
            ],
            held: 2,
            holds: vec![Hold { conversation: name("rel"), hold_ms: 5 }],
            ..Overview::default()
        };
        let told = text(&overview, None, &classes, 1_000);
        assert!(
            told.starts_with("class  rest:*:count=2\nconversation team  26 events (260 B) absent already\n"),
            "{told}"
        );
        assert!(
            told.ends_with("held  2 conversations, where nothing goes until that ends: rel, …\n"),
            "{told}"
        );
        let loss = Loss {
            affected: 2,
            events: 12,
            bytes: 120,
            classes: vec![
                ClassUse { class: "none:zzz:".to_owned(), conversations: 0, own: 0 },
                ClassUse { class: "rest:*:count=2".to_owned(), conversations: 4, own: 1 },
            ],
            conversations: vec![plan("g2", 11, None), plan("both", 1, None)],
            ..Loss::default()
        };
        let told = text(&overview, Some(&loss), &classes, 1_000);
        let lines = [
            "class  none:zzz:  no conversation is of it",
            "class  rest:*:count=2  4 conversations, 1 of them with a retention of their own",
            "changed  the classes are not those of the last start: the next start takes 12 events (120 B) of 2 conversations more by them, \
             for good",
            "conversation team  26 events (260 B) absent already",
            "conversation g2  11 events (110 B) absent from the next start on, the next goes in 1 min",
            "conversation both  2 events (20 B) absent already, 1 event (10 B) absent from the next start on",
            "conversation young  0 events (0 B) absent already, the next goes now",
            "held  2 conversations, where nothing goes until that ends: rel, …",
        ];
        assert_eq!(told.lines().collect::<Vec<_>>(), lines);
        let nothing = text(&overview, Some(&Loss::default()), &classes, 1_000);
        assert!(nothing.starts_with("changed  the classes are not those of the last start: the next start takes nothing more by them\n"));
    }
}
