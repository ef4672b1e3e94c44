//! `quoth conversation`, `quoth block` and `quoth sessions`.

mod asked;
mod create;
mod lines;
mod named;

use anyhow::anyhow;
use quoth_client::protocol::name::Reserved;
use quoth_client::{
    Client, ConversationInfo, ConversationKind, ConversationName, MemberInfo, RequestError, Role, UserId,
};

use self::lines::{closed_behind, conversation_lines, list_line, member_line, session_line};
use self::named::{few_members, tell_odd, tell_unseen};
use crate::args::{BlockArgs, ConversationCommand, SessionsArgs, SessionsCommand, special};
use crate::asking::{asking, asking_of, in_ms, json, lines, tell_silence, told, until_ms, what_is_so};
use crate::connection::Connection;
use crate::hint::{Hint, quoted};
use crate::output::{confirm, note, printable};

/// Members or conversations asked for at once; the server gives what it has room for.
const PAGE_ITEMS: u32 = 500;

pub(crate) async fn conversation(
    connection: &Connection,
    command: ConversationCommand,
) -> anyhow::Result<()> {
    let command = match command {
        ConversationCommand::Create(args) => return create::run(connection, args).await,
        command => command,
    };
    let line = command.clone();
    match asked::asked(&line) {
        Some(asked) => asking_of(connection, &asked, async |client| converse(client, command).await).await,
        None => asking(connection, async |client| converse(client, command).await).await,
    }
}

pub(crate) async fn block(connection: &Connection, args: BlockArgs) -> anyhow::Result<()> {
    asking(connection, async |client| {
        let Some(user) = args.whom else {
            let blocked = client.blocked().await?;
            if blocked.is_empty() {
                note("you have blocked nobody");
            }
            return lines(blocked.iter().map(|user| printable(user.as_str())));
        };
        tell_odd(&user);
        let done = client.block(&user, !args.lift).await?;
        let verb = if args.lift { "is not blocked any more" } else { "is blocked" };
        told(format_args!("{} {verb}", printable(user.as_str())), &done);
        Ok(())
    })
    .await
}

pub(crate) async fn sessions(connection: &Connection, args: SessionsArgs) -> anyhow::Result<()> {
    asking(connection, async |client| match args.command {
        None => {
            let sessions = client.sessions().await?;
            if args.json { json(&sessions) } else { lines(sessions.iter().map(session_line)) }
        }
        Some(SessionsCommand::End { which }) => {
            if !client.sessions().await?.iter().any(|session| session.device == which) {
                let hint = Hint("`quoth sessions` lists your devices".to_owned());
                return Err(anyhow!("you have no device {}", printable(which.as_str())).context(hint));
            }
            client.end_session(&which).await?;
            confirm(&format!("{} is signed out", printable(which.as_str())));
            Ok(())
        }
    })
    .await
}

async fn converse(client: &Client, command: ConversationCommand) -> anyhow::Result<()> {
    use ConversationCommand as C;
    match command {
        C::Invite { conversation, role, holds, uses, revoke: false } => {
            let role = role_or_joiner_s(client, &conversation, role).await?;
            let invitation =
                client.invite(&conversation, role, holds.map_or(0, in_ms), uses.unwrap_or_default()).await?;
            lines([printable(&invitation)])?;
            note(format_args!(
                "who has it comes with: quoth conversation join '{}' --invitation {}",
                printable(conversation.as_str()),
                printable(&invitation)
            ));
            Ok(())
        }
        C::Show { conversation, json: is_json } => {
            let info = client.describe(&conversation).await?;
            if is_json {
                return json(&[&info]);
            }
            lines(conversation_lines(&info))?;
            tell_silence(client, &info).await;
            Ok(())
        }
        C::Members { conversation, json: is_json } => {
            let members = all_members(client, &conversation).await?;
            if is_json {
                return json(&members);
            }
            // Where nobody has created it there are no members, of whatever kind.
            let kind = client.describe(&conversation).await?.kind.unwrap_or(ConversationKind::Group);
            lines(members.iter().map(|member| member_line(member, kind)))
        }
        C::List { json: is_json } => {
            let all = all_conversations(client).await?;
            if is_json { json(&all) } else { lines(all.iter().map(list_line)) }
        }
        change => {
            let added = match &change {
                C::Add { conversation, whom, .. } => Some((conversation.clone(), whom.clone())),
                _ => None,
            };
            let left_empty = match &change {
                C::Leave { conversation } => {
                    // What cannot be asked for is not told of.
                    client.describe(conversation).await.ok().as_ref().and_then(closed_behind)
                }
                _ => None,
            };
            confirm(&self::change(client, change).await?);
            left_empty.into_iter().for_each(note);
            if let Some((conversation, whom)) = added {
                tell_unseen(client, &conversation, &[whom]).await;
            }
            Ok(())
        }
    }
}

/// Changes something, and says what is so then.
async fn change(client: &Client, command: ConversationCommand) -> anyhow::Result<String> {
    use ConversationCommand as C;
    let user = |user: &UserId| printable(user.as_str());
    let name = |name: &ConversationName| printable(name.as_str());
    let (text, done) = match command {
        C::Join { conversation: at, invitation } => {
            (format!("you are in {}", name(&at)), client.join(&at, invitation.as_deref()).await?)
        }
        C::Leave { conversation: at } => (format!("you have left {}", name(&at)), client.leave(&at).await?),
        C::Add { conversation: at, whom, role } => {
            let role = role_or_joiner_s(client, &at, role).await?;
            tell_odd(&whom);
            let done = client.set_member(&at, &whom, role, None).await?;
            (format!("{} is {role} of {}", user(&whom), name(&at)), done)
        }
        C::Remove { conversation: at, whom } => {
            let done = client.remove(&at, &whom).await?;
            if done.seq.is_none() {
                return Ok(format!("{} is no member of {}", user(&whom), name(&at)));
            }
            (format!("{} is out of {}", user(&whom), name(&at)), done)
        }
        C::Role { conversation: at, whom, role, permissions } => {
            // The server would add who is none, and a slip of the pen is not to make a stranger admin. Where nobody
            // can be added it refuses that.
            let is_fixed = matches!(at.reserved(), Some(Reserved::Direct | Reserved::Notes));
            if !is_fixed && !all_members(client, &at).await?.iter().any(|member| member.user == whom) {
                let hint = format!(
                    "see whether the name is spelt right; `quoth conversation add {} {} --role {role}` makes one of {}",
                    quoted(at.as_str()),
                    quoted(whom.as_str()),
                    user(&whom)
                );
                return Err(anyhow!("{} is no member of {}", user(&whom), name(&at)).context(Hint(hint)));
            }
            let done = client.set_member(&at, &whom, role, permissions).await?;
            // Where roles can be given they allow the same, be it a group or a channel.
            let special = permissions.map(|permissions| special(role, ConversationKind::Group, permissions));
            (format!("{} is {role} of {}{}", user(&whom), name(&at), special.unwrap_or_default()), done)
        }
        C::Rename { conversation: at, title } => {
            (format!("{} is called \"{}\"", name(&at), printable(&title)), client.rename(&at, &title).await?)
        }
        C::Mute { conversation: at, whom, everybody: _, time } => {
            let who = whom.as_ref().map_or_else(|| "everybody".to_owned(), user);
            let done = client.mute(&at, whom.as_ref().map(AsRef::as_ref), until_ms(&time)).await?;
            (format!("{who} {}", if time.lift { "may write again" } else { "is muted" }), done)
        }
        C::Ban { conversation: at, whom, time } => {
            tell_odd(&whom);
            let members = if time.lift { None } else { few_members(client, &at).await };
            let done = client.ban(&at, &whom, until_ms(&time)).await?;
            let was_none = members.is_some_and(|members| members.iter().all(|member| member.user != whom));
            let how = match (time.lift, was_none) {
                (true, _) => "may come back",
                (false, true) if done.seq.is_some() => "is banned, and was no member",
                (false, _) => "is banned",
            };
            (format!("{} {how}", user(&whom)), done)
        }
        C::SlowMode { conversation: at, interval } => {
            let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
            let text = match interval_ms {
                0 => "slow mode is over".to_owned(),
                _ => format!("each member writes once in {} s", interval.as_secs()),
            };
            (text, client.slow_mode(&at, interval_ms).await?)
        }
        C::Invite { conversation: at, .. } => {
            (format!("no invitation to {} holds any more", name(&at)), client.revoke_invitations(&at).await?)
        }
        C::Create(_) | C::Show { .. } | C::Members { .. } | C::List { .. } => {
            unreachable!("they change nothing else")
        }
    };
    Ok(what_is_so(text, &done))
}

async fn role_or_joiner_s(
    client: &Client,
    conversation: &ConversationName,
    role: Option<Role>,
) -> Result<Role, RequestError> {
    match role {
        Some(role) => Ok(role),
        // Where there are no members the server refuses it, with the reason.
        None => Ok(client.describe(conversation).await?.kind.map_or(Role::Member, Role::of_joiner)),
    }
}

async fn all_members(client: &Client, conversation: &ConversationName) -> anyhow::Result<Vec<MemberInfo>> {
    let mut all: Vec<MemberInfo> = Vec::new();
    loop {
        let page = client.members(conversation, all.last().map(|member| &member.user), PAGE_ITEMS).await?;
        let is_last = !page.more || page.items.is_empty();
        all.extend(page.items);
        if is_last {
            return Ok(all);
        }
    }
}

async fn all_conversations(client: &Client) -> anyhow::Result<Vec<ConversationInfo>> {
    let mut all: Vec<ConversationInfo> = Vec::new();
    loop {
        let page = client.conversations(all.last().map(|info| &info.conversation), PAGE_ITEMS).await?;
        let is_last = !page.more || page.items.is_empty();
        all.extend(page.items);
        if is_last {
            return Ok(all);
        }
    }
}
