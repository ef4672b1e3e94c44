//! Why something that was asked of a conversation was refused. The server says no more than that it is not allowed,
//! which is the same where there is no such conversation; what it tells this user of the conversation, and the
//! token of itself, say the rest.

use std::time::Duration;

use quoth_client::{
    Client, Code, ConversationKind, FetchRange, HistoryError, Permissions, RequestError, Role, Seq,
};
use tokio::time::timeout;

use super::code::{only_reads, quoted, token_with};
use super::{Hint, Situation};
use crate::claims::Claims;
use crate::output::printable;
use crate::rights::{Standing, standing};

/// How long to ask whether anything was said in a conversation. Outcome: the error does not say so.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a conversation that can be read has neither members nor a place in an inbox, and what to do.
pub(crate) const WITHOUT_MEMBERS: &str = "a conversation in which somebody has spoken before it was created has no members, and is \
    in nobody's inbox: `quoth conversation create` makes one that has and is, under a name that is free, and `join` adds you to it";

/// What a request needs in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To read there.
    Reading,
    /// To be in it, with a token that writes there.
    Membership,
    /// Besides, one of the permissions that roles give.
    Permission(Permissions),
}

/// Something that is asked of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) conversation: &'a str,
    pub(crate) needs: Needs,
    /// Why it may be refused to who has all that it needs; empty where it is not.
    pub(crate) otherwise: &'a str,
}

/// Adds to a refusal why it was one, as far as that can be known and nothing else says so.
pub(crate) async fn explained(
    client: &Client,
    situation: &Situation<'_>,
    asked: &Asked<'_>,
    error: anyhow::Error,
) -> anyhow::Error {
    let code = error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(RequestError::Refused { code, .. }), _) | (_, Some(HistoryError::Refused { code, .. })) => {
            Some(*code)
        }
        _ => None,
    });
    let Some(code @ (Code::FORBIDDEN | Code::INVALID_REQUEST)) = code.filter(|_| !error.is::<Hint>()) else {
        return error;
    };
    let hint = match (standing(client, asked.conversation).await, code) {
        (Some(Standing::Unmanaged(_)), Code::INVALID_REQUEST) => {
            Some(without_members(client, asked.conversation).await)
        }
        (Some(standing), Code::FORBIDDEN) => Some(why_forbidden(asked, standing, situation.claims.as_ref())),
        _ => None,
    };
    match hint.filter(|hint| !hint.is_empty()) {
        Some(hint) => error.context(Hint(hint)),
        None => error,
    }
}

/// What is to be said of a conversation that has no members: it may be none at all.
pub(crate) async fn without_members(client: &Client, conversation: &str) -> String {
    match is_silent(client, conversation).await {
        Some(true) => format!(
            "nothing was ever said in {}: is the name right? `quoth conversation list` shows those that you are in",
            printable(conversation)
        ),
        _ => WITHOUT_MEMBERS.to_owned(),
    }
}

/// Whether nothing was ever said there; `None` when it is not known.
pub(crate) async fn is_silent(client: &Client, conversation: &str) -> Option<bool> {
    let room = client.conversation(conversation).ok()?;
    let page = timeout(HEAD_TIMEOUT, room.history(FetchRange::Latest, 1)).await.ok()?.ok()?;
    Some(page.head == Seq::ZERO)
}

fn why_forbidden(asked: &Asked<'_>, standing: Standing, claims: Option<&Claims>) -> String {
    let name = asked.conversation;
    let shown = printable(name);
    let changes = asked.needs != Needs::Reading;
    let (reads, writes) = match claims {
        Some(claims) => (claims.reads(name), claims.writes(name)),
        None => (true, true),
    };
    match standing {
        Standing::Hidden if !reads => {
            format!("your token does not let you read in {shown}: {}", token_with("read", name))
        }
        Standing::Hidden if changes && !writes => {
            format!("your token does not let you change anything in {shown}: {}", token_with("write", name))
        }
        Standing::Hidden => {
            format!("there is no {shown}, or you are not in it: `quoth conversation list` shows yours")
        }
        Standing::Unmanaged(_) | Standing::Member { .. } | Standing::Outside if changes && !writes => {
            only_reads(name)
        }
        Standing::Outside => {
            format!(
                "you are not in {shown}, which anybody may join: `quoth conversation join {}`",
                quoted(name)
            )
        }
        Standing::Unmanaged(permissions) if changes && !permissions.contains(Permissions::WRITE) => {
            only_reads(name)
        }
        Standing::Unmanaged(_) => asked.otherwise.to_owned(),
        Standing::Member { kind, role, permissions } => match asked.needs {
            Needs::Permission(needed) if !permissions.contains(needed) => lacking(name, needed, kind, role),
            Needs::Membership | Needs::Permission(_) | Needs::Reading => asked.otherwise.to_owned(),
        },
    }
}

/// Which permission is missing, and who has it.
fn lacking(name: &str, needed: Permissions, kind: ConversationKind, role: Role) -> String {
    if matches!(kind, ConversationKind::Direct | ConversationKind::Notes) {
        return format!(
            "nobody {} in a direct conversation or in notes, which stay as they are",
            deed(needed)
        );
    }
    let having = [Role::Owner, Role::Admin, Role::Member, Role::Reader]
        .into_iter()
        .filter(|role| role.permissions(kind).contains(needed));
    let having: Vec<String> = having.map(|role| format!("{role}s")).collect();
    let having = match having.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        one => one.concat(),
    };
    format!(
        "it takes the permission to {}, which {having} have, and you are {role} there: `quoth conversation members {}` shows \
         who is what",
        permission(needed),
        quoted(name)
    )
}

/// What a permission is called on the command line, and what it is to have it.
const fn permission(permission: Permissions) -> &'static str {
    match permission {
        Permissions::READ => "read",
        Permissions::WRITE => "write",
        Permissions::INVITE => "invite",
        Permissions::MODERATE => "moderate",
        Permissions::MANAGE => "manage",
        _ => "delete others' messages (delete-any)",
    }
}

const fn deed(permission: Permissions) -> &'static str {
    match permission {
        Permissions::READ => "reads",
        Permissions::WRITE => "writes",
        Permissions::INVITE => "invites or adds anybody",
        Permissions::MODERATE => "removes, bans or mutes anybody",
        Permissions::MANAGE => "manages anything",
        _ => "deletes others' messages",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::claims;

    #[test]
    fn a_refusal_says_what_it_takes_and_who_has_it() {
        const ALL: &str = r#"{"sub":"bob"}"#;
        const READS: &str = r#"{"read":["*"],"write":[]}"#;
        const NOTHING: &str = r#"{"read":["other"],"write":["other"]}"#;
        let of = |kind, role: Role| Standing::Member { kind, role, permissions: role.permissions(kind) };
        let (group, channel) = (ConversationKind::Group, ConversationKind::Channel);
        let member = of(group, Role::Member);
        let may = Needs::Permission;
        for (needs, standing, token, told) in [
            (Needs::Reading, Standing::Hidden, ALL, "there is no team, or you are not in it"),
            (Needs::Reading, Standing::Hidden, NOTHING, "your token does not let you read in team: ask"),
            (Needs::Reading, member, READS, "besides"),
            (Needs::Reading, Standing::Outside, READS, "conversation join 'team'"),
            (
                Needs::Membership,
                Standing::Hidden,
                READS,
                "your token does not let you change anything in team",
            ),
            (Needs::Membership, Standing::Hidden, "?", "there is no team, or you are not in it"),
            (Needs::Membership, member, READS, "your token lets you only read in team: ask"),
            (Needs::Membership, member, ALL, "besides"),
            (Needs::Membership, Standing::Outside, ALL, "anybody may join"),
            (Needs::Membership, Standing::Unmanaged(Permissions::READ), ALL, "your token lets you only read"),
            (Needs::Membership, Standing::Unmanaged(Permissions::ALL), ALL, "besides"),
            (may(Permissions::MANAGE), member, READS, "your token lets you only read in team: ask"),
            (
                may(Permissions::MANAGE),
                member,
                ALL,
                "to manage, which owners and admins have, and you are member there",
            ),
            (may(Permissions::MODERATE), member, ALL, "to moderate, which owners and admins have"),
            (
                may(Permissions::INVITE),
                of(group, Role::Reader),
                ALL,
                "to invite, which owners, admins and members have",
            ),
            (
                may(Permissions::WRITE),
                of(channel, Role::Reader),
                ALL,
                "to write, which owners, admins and members have",
            ),
            (may(Permissions::MANAGE), of(group, Role::Admin), ALL, "besides"),
            (
                may(Permissions::MANAGE),
                of(ConversationKind::Direct, Role::Member),
                ALL,
                "nobody manages anything in a direct",
            ),
        ] {
            let asked = Asked { conversation: "team", needs, otherwise: "besides" };
            let why = why_forbidden(&asked, standing, claims(token).as_ref());
            assert!(why.contains(told), "{needs:?} {standing:?} {token}: {why}");
        }
    }
}
