//! What a user may do in a conversation, and why not more. The server tells, of an unmanaged one what the token
//! allows, of a managed one what the user is in it, and nothing of what the user may not know of. What the token
//! allows in a managed one it says of itself.

use quoth_client::protocol::reply::ConversationInfo;
use quoth_client::{Client, Code, ConversationKind, Permissions, RequestError, Role};
use tokio::time::timeout;

use crate::claims::Claims;
use crate::hint::HINT_TIMEOUT;

/// What somebody wants to do with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    Write,
}

/// Why a user may not read or write in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The user may read there, and the token lets nobody write there.
    TokenOnlyReads,
    /// The token lets nobody do it there, and the server tells the user nothing of it.
    TokenForbids,
    /// The user is a member, and one who may not write.
    OnlyReads,
    /// It is open, and the user has not joined it.
    NotJoined,
    /// The same, and the token does not let the user join.
    MayNotJoin,
    /// The server tells the user nothing of it: it is not there, or not the user's.
    Hidden,
    /// Token and membership allow it, in a conversation of two: it is the other one who does not.
    OfTheOther,
}

/// What the server tells of a user in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is unmanaged, and this is what the token allows there.
    Unmanaged(Permissions),
    /// A member of it.
    Member { kind: ConversationKind, role: Role, permissions: Permissions },
    /// None of its members, and anybody may join.
    Outside,
    /// The user may not know of it.
    Hidden,
}

impl Standing {
    pub(crate) const fn of(info: &ConversationInfo) -> Self {
        match (info.kind, info.role) {
            (None, _) => Self::Unmanaged(info.permissions),
            (Some(kind), Some(role)) => Self::Member { kind, role, permissions: info.permissions },
            (Some(_), None) => Self::Outside,
        }
    }
}

/// What a user is in a conversation. Without an answer of the server it is not known.
pub(crate) async fn standing(client: &Client, conversation: &str) -> Option<Standing> {
    match timeout(HINT_TIMEOUT, client.describe(conversation)).await {
        Ok(Ok(info)) => Some(Standing::of(&info)),
        Ok(Err(RequestError::Refused { code: Code::FORBIDDEN, .. })) => Some(Standing::Hidden),
        _ => None,
    }
}

/// Why a user may not do that, if that is so and is known; `claims`: what the token says, if that can be read.
pub(crate) fn barrier(
    verb: Verb,
    conversation: &str,
    standing: Standing,
    claims: Option<&Claims>,
) -> Option<Barrier> {
    let (reads, writes) = match claims {
        Some(claims) => (claims.reads(conversation), claims.writes(conversation)),
        None => (true, true),
    };
    let may_write = |permissions: Permissions| permissions.contains(Permissions::WRITE);
    match (standing, verb) {
        (Standing::Unmanaged(_) | Standing::Member { .. }, Verb::Read) => None,
        (Standing::Unmanaged(permissions), Verb::Write) => {
            (!may_write(permissions)).then_some(Barrier::TokenOnlyReads)
        }
        (Standing::Member { .. }, Verb::Write) if !writes => Some(Barrier::TokenOnlyReads),
        (Standing::Member { permissions, .. }, Verb::Write) => {
            (!may_write(permissions)).then_some(Barrier::OnlyReads)
        }
        (Standing::Outside, _) if !writes => Some(Barrier::MayNotJoin),
        (Standing::Outside, _) => Some(Barrier::NotJoined),
        (Standing::Hidden, _) if claims.is_none() => None,
        (Standing::Hidden, Verb::Write) if !writes => Some(Barrier::TokenForbids),
        // To a token that does not read there the server tells nothing, whatever its user is.
        (Standing::Hidden, Verb::Write) if !reads => None,
        (Standing::Hidden, Verb::Read) if !reads => Some(Barrier::TokenForbids),
        (Standing::Hidden, _) => Some(Barrier::Hidden),
    }
}

/// The same of what was tried and refused.
pub(crate) fn barrier_met(
    verb: Verb,
    conversation: &str,
    standing: Standing,
    claims: Option<&Claims>,
) -> Option<Barrier> {
    let of_two =
        verb == Verb::Write && matches!(standing, Standing::Member { kind: ConversationKind::Direct, .. });
    barrier(verb, conversation, standing, claims)
        .or_else(|| (of_two && claims.is_some()).then_some(Barrier::OfTheOther))
}

#[cfg(test)]
mod tests {
    use quoth_client::ConversationName;
    use quoth_client::protocol::Seq;
    use quoth_client::protocol::retention::Retention;

    use super::*;
    use crate::claims::tests::claims;

    const WRITER: Permissions = Permissions::READ.union(Permissions::WRITE);

    const fn member(kind: ConversationKind, permissions: Permissions) -> Standing {
        Standing::Member { kind, role: Role::Member, permissions }
    }

    #[test]
    fn what_the_server_tells_is_read_as_it_is_meant() {
        let group = ConversationKind::Group;
        let of_reader = Standing::Member { kind: group, role: Role::Reader, permissions: Permissions::READ };
        for (kind, role, permissions, expected) in [
            (None, None, Permissions::READ, Standing::Unmanaged(Permissions::READ)),
            (None, None, WRITER, Standing::Unmanaged(WRITER)),
            (Some(group), Some(Role::Reader), Permissions::READ, of_reader),
            (Some(group), Some(Role::Member), WRITER, member(group, WRITER)),
            (Some(group), None, Permissions::default(), Standing::Outside),
        ] {
            let info = ConversationInfo {
                conversation: ConversationName::new("team").unwrap(),
                kind,
                title: String::new(),
                open: kind.is_some() && role.is_none(),
                role,
                permissions,
                members: 0,
                muted_until_ms: 0,
                slow_mode_interval_ms: 0,
                retention: Retention::default(),
                own_retention: false,
                version: Seq(0),
            };
            assert_eq!(Standing::of(&info), expected);
        }
    }

    #[test]
    fn who_may_not_read_or_write_is_told_by_whose_doing() {
        use Barrier::{Hidden, MayNotJoin, NotJoined, OfTheOther, OnlyReads, TokenForbids, TokenOnlyReads};
        let group = |permissions| member(ConversationKind::Group, permissions);
        let standings = [
            Standing::Unmanaged(Permissions::READ),
            Standing::Unmanaged(WRITER),
            group(Permissions::READ),
            group(WRITER),
            member(ConversationKind::Direct, WRITER),
            Standing::Outside,
            Standing::Hidden,
        ];
        // Of what is unmanaged the server knows better than the token's text.
        let unmanaged = [Some(TokenOnlyReads), None];
        let (forbids, only_reads) = (Some(TokenForbids), Some(TokenOnlyReads));
        let allowed = [Some(OnlyReads), None, Some(OfTheOther), Some(NotJoined), Some(Hidden)];
        let forbidden = [only_reads, only_reads, only_reads, Some(MayNotJoin), forbids];
        let told_nothing = [Some(OnlyReads), None, Some(OfTheOther), Some(NotJoined), None];
        let unknown = [Some(OnlyReads), None, None, Some(NotJoined), None];
        for (text, expected) in [
            (r#"{"sub":"bob"}"#, allowed),
            (r#"{"write":["team"]}"#, allowed),
            (r#"{"write":[]}"#, forbidden),
            (r#"{"read":["other"]}"#, told_nothing),
            (r#"{"write":7}"#, unknown),
        ] {
            let claims = claims(text);
            let met = standings.map(|standing| barrier_met(Verb::Write, "team", standing, claims.as_ref()));
            assert_eq!((&met[..2], &met[2..]), (&unmanaged[..], &expected[..]), "{text}");
            let before = barrier(Verb::Write, "team", standings[4], claims.as_ref());
            assert_eq!(
                before,
                met[4].filter(|met| *met != OfTheOther),
                "who is blocked shows when it is tried"
            );
        }
        let reads = |text: &str| {
            let claims = claims(text);
            [standings[3], Standing::Outside, Standing::Hidden]
                .map(|standing| barrier(Verb::Read, "team", standing, claims.as_ref()))
        };
        assert_eq!(reads(r#"{"read":["*"]}"#), [None, Some(NotJoined), Some(Hidden)]);
        assert_eq!(reads(r#"{"read":["*"],"write":[]}"#), [None, Some(MayNotJoin), Some(Hidden)]);
        assert_eq!(reads(r#"{"read":["other"]}"#), [None, Some(NotJoined), forbids]);
        assert_eq!(reads("?"), [None, Some(NotJoined), None]);
    }
}
