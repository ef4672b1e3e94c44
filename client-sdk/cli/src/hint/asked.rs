//! Why something that was asked of a conversation was refused. The server says no more than that it is not allowed,
//! which is the same where there is no such conversation; what it tells this user of the conversation, and the
//! token of itself, say the rest.

use quoth_client::{
    Client, Code, ConversationKind, FetchRange, HistoryError, Permissions, RequestError, Role, Seq,
};
use tokio::time::timeout;

use super::code::{joins_not, only_reads, quoted, token_with};
use super::{HINT_TIMEOUT, Hint, Situation};
use crate::claims::Claims;
use crate::output::printable;
use crate::rights::{Standing, standing};

/// Why a conversation that can be read has neither members nor a place in an inbox, and what to do.
pub(crate) const WITHOUT_MEMBERS: &str = "a conversation in which somebody has spoken before it was created has no members, and is \
    in nobody's inbox: `quoth conversation create` makes one that has and is, under a name that is free, and `join` adds you to it";

/// What a request needs in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// To read there.
    Reading,
    /// To read who its members are.
    Roster,
    /// To be let in, with an invitation or without one.
    Joining { is_invited: bool },
    /// To be in it, with a token that writes there.
    Membership,
    /// Besides, one of the permissions that roles give.
    Permission(Permissions),
    /// To add somebody in this role; `None`: that of who joins.
    Adding(Option<Role>),
}

impl Needs {
    const fn changes(self) -> bool {
        !matches!(self, Self::Reading | Self::Roster)
    }

    /// Whether there is no such thing where there are no members.
    fn is_of_members(self) -> bool {
        !matches!(self, Self::Reading | Self::Permission(Permissions::WRITE))
    }

    /// Whether there is no such thing where members are who they are, once and for all.
    fn is_management(self) -> bool {
        match self {
            Self::Reading | Self::Roster | Self::Membership => false,
            Self::Permission(permission) => permission != Permissions::WRITE,
            Self::Joining { .. } | Self::Adding(_) => true,
        }
    }

    /// The permission that it takes of a member.
    fn permission(self, kind: ConversationKind) -> Option<Permissions> {
        match self {
            Self::Permission(permission) => Some(permission),
            Self::Adding(role) if role.is_none_or(|role| role == Role::of_joiner(kind)) => {
                Some(Permissions::INVITE)
            }
            Self::Adding(_) => Some(Permissions::MANAGE),
            Self::Reading | Self::Roster | Self::Joining { .. } | Self::Membership => None,
        }
    }
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
        (Some(Standing::Unmanaged(_)), Code::INVALID_REQUEST) if asked.needs.is_of_members() => {
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
    let page = timeout(HINT_TIMEOUT, room.history(FetchRange::Latest, 1)).await.ok()?.ok()?;
    Some(page.head == Seq::ZERO)
}

fn why_forbidden(asked: &Asked<'_>, standing: Standing, claims: Option<&Claims>) -> String {
    let (name, needs) = (asked.conversation, asked.needs);
    let shown = printable(name);
    let changes = needs.changes();
    let (reads, writes) = match claims {
        Some(claims) => (claims.reads(name), claims.writes(name)),
        None => (true, true),
    };
    match standing {
        Standing::Hidden if changes && !writes => {
            format!("your token does not let you change anything in {shown}: {}", token_with("write", name))
        }
        Standing::Outside if !writes => joins_not(name),
        Standing::Unmanaged(_) | Standing::Member { .. } if changes && !writes => only_reads(name),
        Standing::Unmanaged(permissions) if changes && !permissions.contains(Permissions::WRITE) => {
            only_reads(name)
        }
        Standing::Member { kind: ConversationKind::Direct, .. } if needs.is_management() => {
            "a conversation of two stays as it is: nobody manages it, and nobody is added, removed or muted there".to_owned()
        }
        Standing::Member { kind: ConversationKind::Notes, .. } if needs.is_management() => {
            "notes have one member, once and for all: nobody is added, removed or muted there".to_owned()
        }
        Standing::Member { kind, role, permissions } => match needs.permission(kind) {
            Some(needed) if !permissions.contains(needed) => lacking(name, needed, kind, role),
            _ => asked.otherwise.to_owned(),
        },
        Standing::Unmanaged(_) => asked.otherwise.to_owned(),
        Standing::Hidden | Standing::Outside if matches!(needs, Needs::Joining { .. }) => {
            comes_not_in(&shown, needs == Needs::Joining { is_invited: true })
        }
        Standing::Outside => {
            format!(
                "you are not in {shown}, which anybody may join: `quoth conversation join {}`",
                quoted(name)
            )
        }
        Standing::Hidden if reads => format!(
            "there is no {shown}, or you are not in it or may not read there: `quoth conversation list` shows yours"
        ),
        // What the user is there may be missing, or be enough: it is not known.
        Standing::Hidden if changes => format!(
            "your token does not let you read in {shown}, so the server does not say what is missing: `quoth whoami` shows \
             what the token allows"
        ),
        Standing::Hidden => {
            format!("your token does not let you read in {shown}: {}", token_with("read", name))
        }
    }
}

/// Why nobody comes in so. Strangers are not told which of it is true.
fn comes_not_in(shown: &str, is_invited: bool) -> String {
    if is_invited {
        return format!(
            "the invitation does not let you into {shown}: it is mistyped, for another conversation, used up, over or \
             withdrawn, or you are banned there; ask who gave it for a new one"
        );
    }
    format!(
        "there is no {shown}, or it takes an invitation (--invitation TEXT), or you are banned there: ask one of its members"
    )
}

/// Which permission is missing, and who has it.
fn lacking(name: &str, needed: Permissions, kind: ConversationKind, role: Role) -> String {
    let having = [Role::Owner, Role::Admin, Role::Member, Role::Reader]
        .into_iter()
        .filter(|role| role.permissions(kind).contains(needed));
    let having: Vec<String> = having.map(|role| format!("{role}s")).collect();
    let having = match having.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        one => one.concat(),
    };
    let who = match role.permissions(kind).contains(needed) {
        true => "which has been taken from you there".to_owned(),
        false => format!("which {having} have, and you are {role} there"),
    };
    format!(
        "it takes the permission to {}, {who}: `quoth conversation members {}` shows who is what",
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::claims;

    const ALL: &str = r#"{"sub":"bob"}"#;
    const READS: &str = r#"{"read":["*"],"write":[]}"#;
    const WRITES: &str = r#"{"read":["other"],"write":["team"]}"#;
    const NOTHING: &str = r#"{"read":["other"],"write":["other"]}"#;

    fn of(kind: ConversationKind, role: Role) -> Standing {
        Standing::Member { kind, role, permissions: role.permissions(kind) }
    }

    fn assert_told(needs: Needs, standing: Standing, token: &str, told: &str) {
        let asked = Asked { conversation: "team", needs, otherwise: "besides" };
        let why = why_forbidden(&asked, standing, claims(token).as_ref());
        assert!(why.contains(told), "{needs:?} {standing:?} {token}: {why}");
    }

    #[test]
    fn a_refusal_by_the_token_or_of_a_stranger_says_so_as_far_as_it_is_known() {
        use Needs::{Membership, Permission, Reading, Roster};
        use Standing::{Hidden, Outside, Unmanaged};
        let joining = |is_invited| Needs::Joining { is_invited };
        let member = of(ConversationKind::Group, Role::Member);
        let unsaid = "so the server does not say what is missing";
        let changes = "your token does not let you change anything in team: ask";
        for (needs, standing, token, told) in [
            (Reading, Hidden, ALL, "there is no team, or you are not in it"),
            (Reading, Hidden, NOTHING, "your token does not let you read in team: ask"),
            (Reading, member, READS, "besides"),
            (Reading, Outside, ALL, "conversation join 'team'"),
            (Roster, Outside, READS, "but your token does not let you join: ask"),
            (Membership, Hidden, READS, changes),
            (Membership, Hidden, NOTHING, changes),
            (Membership, Hidden, WRITES, unsaid),
            (Membership, Hidden, "?", "there is no team, or you are not in it"),
            (Permission(Permissions::MANAGE), Hidden, WRITES, unsaid),
            (Membership, member, READS, "your token lets you only read in team: ask"),
            (Permission(Permissions::MANAGE), member, READS, "your token lets you only read in team: ask"),
            (Membership, member, ALL, "besides"),
            (Membership, Outside, ALL, "anybody may join"),
            (Membership, Unmanaged(Permissions::READ), ALL, "your token lets you only read"),
            (Membership, Unmanaged(Permissions::ALL), ALL, "besides"),
            (joining(false), Hidden, READS, changes),
            (joining(false), Outside, READS, "but your token does not let you join: ask"),
            (joining(false), Hidden, WRITES, "it takes an invitation"),
            (joining(false), Outside, ALL, "it takes an invitation"),
            (joining(true), Outside, ALL, "the invitation does not let you into team"),
        ] {
            assert_told(needs, standing, token, told);
        }
    }

    #[test]
    fn a_refusal_of_a_member_says_what_it_takes_and_who_has_it() {
        use ConversationKind::{Channel, Direct, Group, Notes};
        use Needs::{Adding, Membership, Permission};
        use Role::{Admin, Member, Owner, Reader};
        let may = Permission;
        let narrowed = Standing::Member { kind: Group, role: Admin, permissions: Permissions::READ };
        let managed = "to manage, which owners and admins have, and you are member there";
        let invited = "to invite, which owners, admins and members have, and you are reader there";
        let of_two = "a conversation of two stays as it is: nobody manages";
        let of_one = "notes have one member, once and for all";
        for (needs, standing, told) in [
            (may(Permissions::MANAGE), of(Group, Member), managed),
            (may(Permissions::MANAGE), of(Group, Admin), "besides"),
            (may(Permissions::MANAGE), narrowed, "to manage, which has been taken from you there"),
            (may(Permissions::MODERATE), of(Group, Member), "to moderate, which owners and admins have"),
            (may(Permissions::INVITE), of(Group, Reader), invited),
            (may(Permissions::WRITE), of(Channel, Reader), "to write, which owners, admins and members have"),
            (Adding(None), of(Group, Member), "besides"),
            (Adding(Some(Member)), of(Group, Member), "besides"),
            (Adding(Some(Reader)), of(Group, Member), managed),
            (Adding(Some(Reader)), of(Channel, Member), "besides"),
            (Adding(Some(Member)), of(Channel, Member), managed),
            (Adding(None), of(Channel, Reader), invited),
            (may(Permissions::MANAGE), of(Direct, Member), of_two),
            (Needs::Joining { is_invited: false }, of(Direct, Member), of_two),
            (may(Permissions::WRITE), of(Direct, Member), "besides"),
            (may(Permissions::MODERATE), of(Notes, Owner), of_one),
            (Adding(None), of(Notes, Owner), of_one),
            (Membership, of(Notes, Owner), "besides"),
        ] {
            assert_told(needs, standing, ALL, told);
        }
    }

    #[test]
    fn what_takes_members_is_explained_where_there_are_none_and_nothing_else_is() {
        let of_any = [Needs::Reading, Needs::Permission(Permissions::WRITE)];
        let of_members = [
            Needs::Roster,
            Needs::Joining { is_invited: false },
            Needs::Membership,
            Needs::Permission(Permissions::MANAGE),
            Needs::Adding(None),
        ];
        assert_eq!(of_any.map(Needs::is_of_members), [false; 2]);
        assert_eq!(of_members.map(Needs::is_of_members), [true; 5]);
    }
}
