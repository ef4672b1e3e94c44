//! What a message answers and whom it mentions, looked at before it is sent: the server takes both as they
//! are.

use quoth_client::protocol::limits::MEMBERS_PAGE_MAX;
use quoth_client::{Client, Conversation, Seq, UserId};

use crate::output::{note, printable};

/// Says where there is nothing that is answered, and nobody who is mentioned. Where that cannot be known
/// nothing is said.
pub(crate) async fn tell_missing(
    client: &Client,
    room: &Conversation,
    reply_to: Option<Seq>,
    mentions: &[UserId],
) {
    let shown = printable(room.name().as_str());
    if let Some(seq) = reply_to
        && let Ok(states) = room.messages(&[seq]).await
        && states.absent.contains(&seq)
    {
        note(format_args!("what is answered is not there: {seq} is no message of {shown}, or is gone"));
    }
    if mentions.is_empty() {
        return;
    }
    // Among more than a page of members nobody is looked for.
    let members = match client.members(room.name().as_str(), None, MEMBERS_PAGE_MAX).await {
        Ok(page) if !page.more => page.items,
        Ok(_) | Err(_) => return,
    };
    for user in mentions.iter().filter(|user| members.iter().all(|member| member.user != **user)) {
        note(format_args!("{} is not in {shown}: the mention reaches nobody", printable(user.as_str())));
    }
}
