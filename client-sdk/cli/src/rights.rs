//! Why a user may not write in a conversation. The server tells, of an unmanaged one what the token allows, of a
//! managed one what the user is in it, and nothing of what the user may not know of. What the token allows in a
//! managed one it says of itself.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_client::protocol::membership::Permissions;
use quoth_client::protocol::reply::ConversationInfo;
use quoth_client::{Client, Code, RequestError};
use serde::Deserialize;
use tokio::time::timeout;

/// How long the server may take to say what the user may do.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a user may not write in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barrier {
    /// The user may read there, and the token lets nobody write there.
    TokenOnlyReads,
    /// The token lets nobody write there, and the user is not in it.
    TokenForbids,
    /// The user is a member, and one who may not write.
    OnlyReads,
    /// It is open, and the user has not joined it.
    NotJoined,
    /// The server tells the user nothing of it: it is not there, or not the user's.
    Hidden,
}

/// What the server tells of a user in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is unmanaged, and this is what the token allows there.
    Unmanaged(Permissions),
    /// A member of it, with these permissions.
    Member(Permissions),
    /// None of its members, and anybody may join.
    Outside,
    /// The user may not know of it.
    Hidden,
}

impl Standing {
    const fn of(info: &ConversationInfo) -> Self {
        match (info.kind, info.role) {
            (None, _) => Self::Unmanaged(info.permissions),
            (Some(_), Some(_)) => Self::Member(info.permissions),
            (Some(_), None) => Self::Outside,
        }
    }
}

/// What a token says of where its bearer may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenWrites {
    /// Where one of these patterns fits.
    Where(Vec<String>),
    /// It says nothing: where the bearer is a member who may.
    AsMember,
    /// It cannot be read here.
    Unknown,
}

#[derive(Deserialize)]
struct Claims {
    write: Option<Vec<String>>,
}

impl TokenWrites {
    /// What a token says, whether it is good or not.
    pub(crate) fn of(token: &str) -> Self {
        let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
        match claims.and_then(|claims| serde_json::from_slice(&claims).ok()) {
            Some(Claims { write: Some(patterns) }) => Self::Where(patterns),
            Some(Claims { write: None }) => Self::AsMember,
            None => Self::Unknown,
        }
    }

    /// Whether it lets a member of a managed conversation write there; `None`: it cannot be read here.
    fn lets_members_write(&self, conversation: &str) -> Option<bool> {
        match self {
            Self::Where(patterns) => Some(patterns.iter().any(|pattern| fits(pattern, conversation))),
            Self::AsMember => Some(true),
            Self::Unknown => None,
        }
    }

    /// Why its bearer may not write in a conversation, if that is known.
    fn barrier(&self, conversation: &str, standing: Standing) -> Option<Barrier> {
        let writes = |permissions: Permissions| permissions.contains(Permissions::WRITE);
        let by_token = self.lets_members_write(conversation);
        match standing {
            Standing::Unmanaged(permissions) => (!writes(permissions)).then_some(Barrier::TokenOnlyReads),
            Standing::Member(_) if by_token == Some(false) => Some(Barrier::TokenOnlyReads),
            Standing::Member(permissions) => (!writes(permissions)).then_some(Barrier::OnlyReads),
            Standing::Outside if by_token == Some(false) => Some(Barrier::TokenForbids),
            Standing::Outside => Some(Barrier::NotJoined),
            // It may be the token, or the membership, or both.
            Standing::Hidden => (by_token == Some(true)).then_some(Barrier::Hidden),
        }
    }
}

/// Whether a name fits a pattern, in which each `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Why a user may not write in a conversation, if that is so. Without an answer of the server it is not known.
pub(crate) async fn barrier(client: &Client, conversation: &str, writes: &TokenWrites) -> Option<Barrier> {
    let standing = match timeout(DESCRIBE_TIMEOUT, client.describe(conversation)).await {
        Ok(Ok(info)) => Standing::of(&info),
        Ok(Err(RequestError::Refused { code: Code::FORBIDDEN, .. })) => Standing::Hidden,
        _ => return None,
    };
    writes.barrier(conversation, standing)
}

#[cfg(test)]
mod tests {
    use quoth_client::ConversationName;
    use quoth_client::protocol::Seq;
    use quoth_client::protocol::membership::{ConversationKind, Role};
    use quoth_client::protocol::retention::Retention;

    use super::{
        Barrier, ConversationInfo, Engine as _, Permissions, Standing, TokenWrites, URL_SAFE_NO_PAD,
    };

    const WRITER: Permissions = Permissions::READ.union(Permissions::WRITE);

    fn writes(claims: &str) -> TokenWrites {
        TokenWrites::of(&format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn what_the_server_tells_is_read_as_it_is_meant() {
        let (group, reader) = (Some(ConversationKind::Group), Some(Role::Reader));
        for (kind, role, permissions, expected) in [
            (None, None, Permissions::READ, Standing::Unmanaged(Permissions::READ)),
            (None, None, WRITER, Standing::Unmanaged(WRITER)),
            (group, reader, Permissions::READ, Standing::Member(Permissions::READ)),
            (group, Some(Role::Member), WRITER, Standing::Member(WRITER)),
            (group, None, Permissions::default(), Standing::Outside),
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
    fn who_may_not_write_is_told_by_whose_doing() {
        use Barrier::{Hidden, NotJoined, OnlyReads, TokenForbids, TokenOnlyReads};
        let standings = [
            Standing::Unmanaged(Permissions::READ),
            Standing::Unmanaged(WRITER),
            Standing::Member(Permissions::READ),
            Standing::Member(WRITER),
            Standing::Outside,
            Standing::Hidden,
        ];
        // Of what is unmanaged the server knows better than the token's text.
        let unmanaged = [Some(TokenOnlyReads), None];
        let allowed = [Some(OnlyReads), None, Some(NotJoined), Some(Hidden)];
        let forbidden = [Some(TokenOnlyReads), Some(TokenOnlyReads), Some(TokenForbids), None];
        let unknown = [Some(OnlyReads), None, Some(NotJoined), None];
        for (claims, name, managed) in [
            (r#"{"sub":"bob"}"#, "team", allowed),
            (r#"{"write":[]}"#, "team", forbidden),
            (r#"{"write":["team"]}"#, "team", allowed),
            (r#"{"write":["team"]}"#, "team/a", forbidden),
            (r#"{"write":["*"],"read":[]}"#, "team", allowed),
            (r#"{"write":["team/*","x"]}"#, "team/a", allowed),
            (r#"{"write":["a*b*c"]}"#, "a-b-c", allowed),
            (r#"{"write":["ab*ba"]}"#, "aba", forbidden),
            (r#"{"write":7}"#, "team", unknown),
        ] {
            let writes = writes(claims);
            let told = standings.map(|standing| writes.barrier(name, standing));
            assert_eq!(told[..2], unmanaged, "{claims} in {name}");
            assert_eq!(told[2..], managed, "{claims} in {name}");
        }
        assert_eq!(TokenWrites::of("no token"), TokenWrites::Unknown);
    }
}
