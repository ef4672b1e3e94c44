//! Conversations, members and devices, as lines for people. Pure.

use quoth_client::{ConversationInfo, ConversationKind, MemberInfo, SessionInfo, Status};

use crate::args::special;
use crate::clock;
use crate::deed::kept_by;
use crate::output::printable;

pub(super) fn list_line(info: &ConversationInfo) -> String {
    let name = printable(info.conversation.as_str());
    match (info.kind, info.role) {
        (None, _) => format!("{name}  without members"),
        (Some(ConversationKind::Direct), _) => format!("{name}  with {}", printable(&info.title)),
        (Some(ConversationKind::Notes), _) => format!("{name}  notes{}", called(&info.title)),
        (Some(kind), Some(role)) => format!("{name}  {role} of a {kind}{}", called(&info.title)),
        (Some(kind), None) => format!("{name}  {kind}{}", called(&info.title)),
    }
}

pub(super) fn conversation_lines(info: &ConversationInfo) -> Vec<String> {
    let kept = format!("what is said there is {}", kept_by(info));
    let Some(kind_of) = info.kind else {
        return vec![
            list_line(info),
            "nobody has created it: tokens alone say who reads and writes".to_owned(),
            kept,
        ];
    };
    let kind = match (kind_of, info.open) {
        (ConversationKind::Group | ConversationKind::Channel, true) => format!("open {kind_of}"),
        _ => kind_of.to_string(),
    };
    let mut lines = vec![format!("{}  {kind}{}", printable(info.conversation.as_str()), called(&info.title))];
    let members = if info.members == 1 { "1 member".to_owned() } else { format!("{} members", info.members) };
    let role = info.role.map_or_else(
        || "you are not in it".to_owned(),
        |role| format!("you are {role}{}", special(role, kind_of, info.permissions)),
    );
    lines.push(format!("{members}; {role}"));
    if info.muted_until_ms > 0 {
        lines.push(format!("everybody who may not moderate is muted{}", until(info.muted_until_ms)));
    }
    if info.slow_mode_interval_ms > 0 {
        let seconds = f64::from(info.slow_mode_interval_ms) / 1_000.0;
        lines.push(format!("slow mode: each member writes once in {seconds} s"));
    }
    lines.push(kept);
    lines
}

/// What is to be told of a conversation that this user is about to leave: behind the last one it is closed.
pub(super) fn closed_behind(info: &ConversationInfo) -> Option<String> {
    let is_group = matches!(info.kind, Some(ConversationKind::Group | ConversationKind::Channel));
    let is_last = is_group && info.role.is_some() && info.members == 1 && !info.open;
    let name = printable(info.conversation.as_str());
    is_last.then(|| {
        format!(
            "nobody is left in {name}, and nobody can come in by themselves: an operator can add somebody (`quoth admin member set {name} \
             USER --role owner`)"
        )
    })
}

pub(super) fn member_line(member: &MemberInfo, kind: ConversationKind) -> String {
    let muted = match member.muted_until_ms {
        0 => String::new(),
        until_ms => format!(", muted{}", until(until_ms)),
    };
    format!(
        "{}  {}{}, {}{muted}",
        printable(member.user.as_str()),
        member.role,
        special(member.role, kind, member.permissions),
        seen(member.status, member.last_seen_ms)
    )
}

pub(super) fn session_line(session: &SessionInfo) -> String {
    format!(
        "{}  {}, {}",
        printable(session.device.as_str()),
        printable(&session.platform),
        seen(session.status, session.last_seen_ms)
    )
}

fn seen(status: Status, last_seen_ms: u64) -> String {
    match (status, last_seen_ms) {
        (Status::Offline, 0) => "never seen".to_owned(),
        (Status::Offline, at) => format!("last seen {} {}", clock::date(at), clock::time(at)),
        (status, _) => status.to_string(),
    }
}

fn until(time_ms: u64) -> String {
    match time_ms {
        u64::MAX => String::new(),
        _ => format!(" until {} {}", clock::date(time_ms), clock::time(time_ms)),
    }
}

fn called(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!(" \"{}\"", printable(title)) }
}

#[cfg(test)]
mod tests {
    use quoth_client::{ConversationName, Permissions, Retention, Role, Seq, UserId};

    use super::*;

    #[test]
    fn a_conversation_is_told_in_a_few_lines() {
        let mut info = ConversationInfo {
            conversation: ConversationName::new("team").unwrap(),
            kind: Some(ConversationKind::Group),
            title: "The\u{202e} team".to_owned(),
            open: true,
            role: Some(Role::Owner),
            permissions: Permissions::ALL,
            members: 2,
            muted_until_ms: 1_103_947_440_000,
            slow_mode_interval_ms: 1_500,
            retention: Retention { age_s: 2_592_000, count: 300, bytes: 0 },
            own_retention: true,
            version: Seq(9),
        };
        assert_eq!(list_line(&info), "team  owner of a group \"The\\u{202e} team\"");
        assert_eq!(
            conversation_lines(&info),
            [
                "team  open group \"The\\u{202e} team\"",
                "2 members; you are owner",
                "everybody who may not moderate is muted until 2004-12-25 04:04",
                "slow mode: each member writes once in 1.5 s",
                "what is said there is kept for 30 days, up to 300 events, as set for it",
            ]
        );
        let reader =
            ConversationInfo { role: Some(Role::Reader), permissions: Permissions(9), ..info.clone() };
        assert_eq!(conversation_lines(&reader)[1], "2 members; you are reader (may read, moderate)");
        let direct = ConversationInfo {
            kind: Some(ConversationKind::Direct),
            title: "bob".to_owned(),
            ..info.clone()
        };
        assert_eq!(list_line(&direct), "team  with bob");
        (info.title, info.role, info.members) = (String::new(), None, 1);
        (info.muted_until_ms, info.slow_mode_interval_ms) = (0, 0);
        (info.retention, info.own_retention) = (Retention::FOR_EVER, false);
        let kept = "what is said there is kept for ever, by the operator's rules";
        assert_eq!(conversation_lines(&info), ["team  open group", "1 member; you are not in it", kept]);
        for (role, members, open, is_told) in [
            (Some(Role::Owner), 1, false, true),
            (Some(Role::Owner), 2, false, false),
            (Some(Role::Owner), 1, true, false),
            (None, 1, false, false),
        ] {
            let told = closed_behind(&ConversationInfo { role, members, open, ..info.clone() });
            assert_eq!(told.is_some_and(|told| told.contains("nobody is left in team")), is_told);
        }
        info.kind = None;
        let by_tokens = "nobody has created it: tokens alone say who reads and writes";
        assert_eq!(conversation_lines(&info), ["team  without members", by_tokens, kept]);
    }

    #[test]
    fn a_member_is_told_with_what_matters_now() {
        let member = MemberInfo {
            user: UserId::new("bob").unwrap(),
            role: Role::Reader,
            permissions: Permissions::READ,
            muted_until_ms: u64::MAX,
            status: Status::Offline,
            last_seen_ms: 1_103_947_440_000,
        };
        let group = ConversationKind::Group;
        assert_eq!(member_line(&member, group), "bob  reader, last seen 2004-12-25 04:04, muted");
        let here = MemberInfo { muted_until_ms: 0, status: Status::Away, ..member };
        assert_eq!(member_line(&here, group), "bob  reader, away");
        let more = MemberInfo { permissions: Permissions(33), ..here };
        assert_eq!(member_line(&more, group), "bob  reader (may read, delete-any), away");
    }
}
