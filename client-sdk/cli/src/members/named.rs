//! Users that are named in a command, and may be misspelt: the server takes any name, since it knows no users but
//! by their tokens. A member is told what every member can see.

use quoth_client::{Client, ConversationName, MemberInfo, Status, UserId};
use tokio::time::timeout;

use crate::hint::HINT_TIMEOUT;
use crate::output::{note, printable};

/// Members that are looked through. Outcome: among more of them nobody is looked for.
const FEW: u32 = 50;

/// The members of a conversation, where they are few enough to look through and the server tells them soon.
pub(super) async fn few_members(client: &Client, conversation: &ConversationName) -> Option<Vec<MemberInfo>> {
    let page = timeout(HINT_TIMEOUT, client.members(conversation, None, FEW)).await.ok()?.ok()?;
    (!page.more).then_some(page.items)
}

/// Says of those who have just become members that they were never there, if it is so.
pub(super) async fn tell_unseen(client: &Client, conversation: &ConversationName, users: &[UserId]) {
    if users.is_empty() {
        return;
    }
    let members = few_members(client, conversation).await.unwrap_or_default();
    users
        .iter()
        .filter(|user| members.iter().any(|member| member.user == **user && is_unseen(member)))
        .for_each(|user| {
            note(format_args!("{} has never signed in here: is the name right?", printable(user.as_str())))
        });
}

const fn is_unseen(member: &MemberInfo) -> bool {
    matches!(member.status, Status::Offline) && member.last_seen_ms == 0
}

/// Says of a name that may be meant as more than one that it is one.
pub(super) fn tell_odd(user: &UserId) {
    if let Some(told) = odd(user) {
        note(told);
    }
}

/// What is odd about a name.
fn odd(user: &UserId) -> Option<String> {
    let text = user.as_str();
    let shown = printable(text);
    if text.contains('*') {
        return Some(format!("{shown} is the name of one user here, and no pattern"));
    }
    (text.trim() != text)
        .then(|| format!("\"{shown}\" has a blank at its beginning or end: is the name right?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_pattern() {
        let odd = |name: &str| odd(&UserId::new(name).unwrap()).unwrap_or_default();
        assert!(odd("b*b").contains("b*b is the name of one user here, and no pattern"));
        assert!(odd("bob ").contains("\"bob \" has a blank"));
        assert_eq!(odd("anna maria"), "");
    }
}
