//! What happens in a conversation besides messages, as a line for people.

use quoth_client::protocol::membership::{GoneCause, Role};
use quoth_client::protocol::retention::Retention;
use quoth_client::{ConversationInfo, ConversationKind, Event, EventKind, UserId};

use crate::output::{Known, printable};
use crate::{amount, clock};

/// What an event says that somebody did, or `None` for a message.
pub(crate) fn deed(event: &Event, known: &Known<'_>) -> Option<String> {
    let actor = shown(&event.sender);
    let text = match &event.kind {
        EventKind::Message { .. } => return None,
        EventKind::Created { kind: ConversationKind::Direct, .. } => {
            format!("{actor} opened this conversation")
        }
        EventKind::Created { kind: ConversationKind::Notes, .. } => format!("{actor} began these notes"),
        EventKind::Created { kind, title, .. } => format!("{actor} created this {kind}{}", called(title)),
        EventKind::Renamed { title } if title.is_empty() => format!("{actor} took the title away"),
        EventKind::Renamed { title } => format!("{actor} renamed this to \"{}\"", printable(title)),
        EventKind::MemberSet { user, role, previous, invitation, .. } => {
            member_set(&event.sender, user, *role, *previous, invitation.is_some())
        }
        EventKind::MemberGone { user, cause } => match cause {
            GoneCause::Left => format!("{} left", shown(user)),
            GoneCause::Removed => format!("{actor} removed {}", shown(user)),
            GoneCause::Banned => format!("{} is out by a ban", shown(user)),
        },
        EventKind::Muted { user, until_ms } => muted(&actor, user.as_ref(), *until_ms),
        EventKind::Banned { user, until_ms: 0 } => format!("{actor} lifted the ban of {}", shown(user)),
        EventKind::Banned { user, until_ms } => format!("{actor} banned {}{}", shown(user), until(*until_ms)),
        EventKind::SlowMode { interval_ms: 0 } => format!("{actor} ended slow mode"),
        EventKind::SlowMode { interval_ms } => {
            format!("{actor} set slow mode: one message in {} s", f64::from(*interval_ms) / 1_000.0)
        }
        // The end of one that was made before.
        EventKind::InvitationMade { expires_ms: 1, .. } => format!("{actor} revoked an invitation"),
        EventKind::InvitationMade { role, .. } => format!("{actor} made an invitation for a {role}"),
        EventKind::InvitationsRevoked => format!("{actor} revoked all invitations"),
        EventKind::Belongs { conversation, role, title, .. } => {
            format!("you are {role} of {}{}", printable(conversation.as_str()), called(title))
        }
        EventKind::BelongsNoMore { conversation, cause } => {
            format!("you are not in {} any more ({cause})", printable(conversation.as_str()))
        }
        EventKind::Blocked { user, blocked: true } => format!("you blocked {}", shown(user)),
        EventKind::Blocked { user, blocked: false } => format!("you do not block {} any more", shown(user)),
        EventKind::Edited { seq, body, .. } => {
            format!("{actor} edited {}: {}", known.named(*seq), said(body))
        }
        EventKind::Revoked { seq } => format!("{actor} took {} back", known.named(*seq)),
        EventKind::Reacted { seq, reaction, on: true } => {
            format!("{actor} reacted to {}: {}", known.named(*seq), printable(reaction))
        }
        EventKind::Reacted { seq, reaction, on: false } => {
            format!("{actor} took the reaction {} to {} back", printable(reaction), known.named(*seq))
        }
        EventKind::RetentionSet { retention } => {
            format!("{actor} set that messages are kept {}", kept(*retention))
        }
        EventKind::Hidden { conversation, seq } => {
            format!("you hid message {seq} of {}", printable(conversation.as_str()))
        }
        EventKind::InboxSet { conversation, archived, muted_until_ms, pinned } => {
            let conversation = printable(conversation.as_str());
            inbox_set(&conversation, *archived, *muted_until_ms, *pinned)
        }
    };
    Some(text)
}

fn member_set(actor: &UserId, user: &UserId, role: Role, previous: Option<Role>, is_invited: bool) -> String {
    let (by, who) = (shown(actor), shown(user));
    match previous {
        None if is_invited => format!("{who} came with an invitation as {role}"),
        None if actor == user => format!("{who} joined as {role}"),
        None => format!("{by} added {who} as {role}"),
        Some(previous) if previous == role => format!("{by} changed what {who} may do"),
        Some(previous) => format!("{by} made {who} {role} ({previous} before)"),
    }
}

fn muted(actor: &str, user: Option<&UserId>, until_ms: u64) -> String {
    let who = user.map_or_else(|| "everybody".to_owned(), shown);
    match until_ms {
        0 => format!("{actor} lets {who} write again"),
        _ => format!("{actor} muted {who}{}", until(until_ms)),
    }
}

/// A time that never comes is not told.
fn until(time_ms: u64) -> String {
    match time_ms {
        u64::MAX => String::new(),
        _ => format!(" until {} {}", clock::date(time_ms), clock::time(time_ms)),
    }
}

/// A message in one line.
fn said(body: &[u8]) -> String {
    std::str::from_utf8(body).map_or_else(|_| format!("{} bytes", body.len()), printable)
}

pub(crate) fn kept(Retention { age_s, count, bytes }: Retention) -> String {
    let age = (age_s > 0).then(|| format!("for {}", span(age_s)));
    let count = (count > 0).then(|| format!("up to {}", amount::count(count, "event")));
    let bytes = (bytes > 0).then(|| format!("up to {}", amount::count(bytes, "byte")));
    let bounds: Vec<String> = [age, count, bytes].into_iter().flatten().collect();
    if bounds.is_empty() { "for ever".to_owned() } else { bounds.join(", ") }
}

/// How a conversation is kept, and who says so.
pub(crate) fn kept_by(info: &ConversationInfo) -> String {
    let who = if info.own_retention { "as set for it" } else { "by the operator's rules" };
    format!("kept {}, {who}", kept(info.retention))
}

/// In the largest unit that tells it exactly.
fn span(s: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let unit = UNITS.into_iter().find(|(unit_s, _)| s.is_multiple_of(*unit_s));
    let (unit_s, unit) = unit.unwrap_or((1, "second"));
    match s / unit_s {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    }
}

fn inbox_set(conversation: &str, archived: bool, muted_until_ms: u64, pinned: bool) -> String {
    let mut how = Vec::new();
    how.extend(archived.then(|| "archived".to_owned()));
    how.extend((muted_until_ms > 0).then(|| format!("muted{}", until(muted_until_ms))));
    how.extend(pinned.then(|| "pinned".to_owned()));
    let how = if how.is_empty() { "as any other".to_owned() } else { how.join(", ") };
    format!("in your inbox {conversation} is {how}")
}

fn called(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(" \"{}\"", printable(title)) }
}

fn shown(user: &UserId) -> String {
    printable(user.as_str())
}

#[cfg(test)]
mod tests {
    use quoth_client::protocol::membership::{ConversationKind, InvitationHash, Permissions};
    use quoth_client::{ConversationName, Seq};

    use super::*;

    fn user(text: &str) -> UserId {
        UserId::new(text).unwrap()
    }

    fn of(sender: &str, kind: EventKind) -> Option<String> {
        let event = Event { seq: Seq(1), time_ms: 0, sender: user(sender), origin_time_ms: None, kind };
        deed(&event, &Known::default())
    }

    fn set(sender: &str, role: Role, previous: Option<Role>, invitation: Option<&str>) -> Option<String> {
        let (user, permissions) = (user("bob"), Permissions::READ);
        let invitation = invitation.map(InvitationHash::of);
        of(sender, EventKind::MemberSet { user, role, permissions, previous, invitation })
    }

    #[test]
    fn each_way_to_become_a_member_is_told_apart() {
        let told = [
            set("alice", Role::Member, None, None),
            set("bob", Role::Reader, None, None),
            set("bob", Role::Member, None, Some("abc")),
            set("alice", Role::Admin, Some(Role::Member), None),
            set("alice", Role::Admin, Some(Role::Admin), None),
        ];
        assert_eq!(
            told.map(Option::unwrap),
            [
                "alice added bob as member",
                "bob joined as reader",
                "bob came with an invitation as member",
                "alice made bob admin (member before)",
                "alice changed what bob may do",
            ]
        );
    }

    #[test]
    fn times_are_told_unless_they_never_come() {
        let ban = |until_ms| of("alice", EventKind::Banned { user: user("bob"), until_ms }).unwrap();
        assert_eq!(ban(0), "alice lifted the ban of bob");
        assert_eq!(ban(1_103_947_440_000), "alice banned bob until 2004-12-25 04:04");
        assert_eq!(ban(u64::MAX), "alice banned bob");
        let mute = of("alice", EventKind::Muted { user: None, until_ms: 1_103_947_440_000 }).unwrap();
        assert_eq!(mute, "alice muted everybody until 2004-12-25 04:04");
    }

    #[test]
    fn what_becomes_of_messages_is_told() {
        let seq = Seq(7);
        let edited = |body: &'static [u8]| EventKind::Edited { seq, body: body.into(), mentions: vec![] };
        assert_eq!(of("alice", edited(b"a\nb")).unwrap(), "alice edited message 7: a\\nb");
        assert_eq!(of("alice", edited(b"\xff\xff")).unwrap(), "alice edited message 7: 2 bytes");
        let reacted = |on| EventKind::Reacted { seq, reaction: "+1".into(), on };
        assert_eq!(of("alice", reacted(true)).unwrap(), "alice reacted to message 7: +1");
        assert_eq!(of("alice", reacted(false)).unwrap(), "alice took the reaction +1 to message 7 back");
        let set = |age_s, count| {
            let retention = Retention { age_s, count, bytes: 0 };
            of("alice", EventKind::RetentionSet { retention }).unwrap()
        };
        assert_eq!(set(60, 5), "alice set that messages are kept for 1 minute, up to 5 events");
        assert_eq!(set(90, 0), "alice set that messages are kept for 90 seconds");
        assert_eq!(set(36 * 3_600, 0), "alice set that messages are kept for 36 hours");
        assert_eq!(set(0, 0), "alice set that messages are kept for ever");
        let conversation = ConversationName::new("team").unwrap();
        let inbox = |archived, pinned| {
            let conversation = conversation.clone();
            of("alice", EventKind::InboxSet { conversation, archived, muted_until_ms: 0, pinned }).unwrap()
        };
        assert_eq!(inbox(true, true), "in your inbox team is archived, pinned");
        assert_eq!(inbox(false, false), "in your inbox team is as any other");
    }

    #[test]
    fn what_is_created_has_a_name_of_its_kind() {
        let of_kind = |kind| {
            let created = EventKind::Created { kind, title: String::new(), open: false };
            of("dave", created).unwrap()
        };
        assert_eq!(of_kind(ConversationKind::Direct), "dave opened this conversation");
        assert_eq!(of_kind(ConversationKind::Notes), "dave began these notes");
        assert_eq!(of_kind(ConversationKind::Channel), "dave created this channel");
    }

    #[test]
    fn titles_cannot_steer_the_terminal() {
        let kind = ConversationKind::Group;
        let created = EventKind::Created { kind, title: "a\u{202e}b".into(), open: true };
        assert_eq!(of("alice", created).unwrap(), "alice created this group \"a\\u{202e}b\"");
        assert_eq!(of("alice", EventKind::message("hi")), None);
    }
}
