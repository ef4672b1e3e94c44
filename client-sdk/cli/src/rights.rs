//! Whether a user may only read in a conversation, and why. By what the token says of itself, which holds for
//! conversations without members too, and by what the server says of the membership.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quoth_client::protocol::membership::Permissions;
use quoth_client::{Client, Code, RequestError};
use serde::Deserialize;
use tokio::time::timeout;

/// How long the server may take to say what the user may do.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a user may only read in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnlyReads {
    /// The user's token does not let anybody write there.
    ByToken,
    /// The user is a member, and one who may not write.
    AsMember,
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

    /// Why its bearer may only read in a conversation, where the bearer is a member with these permissions or
    /// the conversation has no members.
    fn only_reads(&self, conversation: &str, as_member: Option<Permissions>) -> Option<OnlyReads> {
        let by_token = match self {
            Self::Where(patterns) => patterns.iter().any(|pattern| fits(pattern, conversation)),
            Self::AsMember => as_member.is_some(),
            Self::Unknown => true,
        };
        let as_member = as_member.is_none_or(|permissions| permissions.contains(Permissions::WRITE));
        match (by_token, as_member) {
            (false, _) => Some(OnlyReads::ByToken),
            (true, false) => Some(OnlyReads::AsMember),
            (true, true) => None,
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

/// Why a user who may read in a conversation may do no more there, if that is so. Without an answer of the
/// server it is not known.
pub(crate) async fn only_reads(
    client: &Client,
    conversation: &str,
    writes: &TokenWrites,
) -> Option<OnlyReads> {
    let as_member = match timeout(DESCRIBE_TIMEOUT, client.describe(conversation)).await {
        Ok(Ok(info)) => Some(info.permissions),
        // It has no members.
        Ok(Err(RequestError::Refused { code: Code::FORBIDDEN, .. })) => None,
        _ => return None,
    };
    writes.only_reads(conversation, as_member)
}

#[cfg(test)]
mod tests {
    use super::{Engine as _, OnlyReads, Permissions, TokenWrites, URL_SAFE_NO_PAD};

    fn writes(claims: &str) -> TokenWrites {
        TokenWrites::of(&format!("head.{}.signature", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn who_may_only_read_is_told_by_whose_doing() {
        let reader = Some(Permissions::READ);
        let member = Some(Permissions::READ.union(Permissions::WRITE));
        let (by_token, as_member) = (Some(OnlyReads::ByToken), Some(OnlyReads::AsMember));
        for (claims, name, without_members, of_reader, of_member) in [
            (r#"{"sub":"bob"}"#, "team", by_token, as_member, None),
            (r#"{"write":[]}"#, "team", by_token, by_token, by_token),
            (r#"{"write":["team"]}"#, "team", None, as_member, None),
            (r#"{"write":["team"]}"#, "team/a", by_token, by_token, by_token),
            (r#"{"write":["*"],"read":[]}"#, "team", None, as_member, None),
            (r#"{"write":["team/*","x"]}"#, "team/a", None, as_member, None),
            (r#"{"write":["a*b*c"]}"#, "a-b-c", None, as_member, None),
            (r#"{"write":["ab*ba"]}"#, "aba", by_token, by_token, by_token),
            // Whatever else it says, the server will.
            (r#"{"write":7}"#, "team", None, as_member, None),
        ] {
            let writes = writes(claims);
            let told = [None, reader, member].map(|as_member| writes.only_reads(name, as_member));
            assert_eq!(told, [without_members, of_reader, of_member], "{claims} in {name}");
        }
        assert_eq!(TokenWrites::of("no token"), TokenWrites::Unknown);
    }
}
