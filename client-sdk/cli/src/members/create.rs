//! `quoth conversation create`.

use anyhow::anyhow;
use quoth_client::protocol::ConversationName;
use quoth_client::{Client, Code, NewConversation, RequestError, UserId};

use super::all_members;
use super::named::{tell_odd, tell_unseen};
use crate::already::{self, By, Found};
use crate::args::CreateArgs;
use crate::asking::lines;
use crate::claims::Claims;
use crate::connection::{Connection, Purpose};
use crate::hint::{Hint, Situation, token_with};
use crate::output::{note, printable};
use crate::states::telling_states;

/// A name that the server could make for a group, and one for a channel.
const MADE: [&str; 2] = ["group/0", "channel/0"];

pub(super) async fn run(connection: &Connection, args: CreateArgs) -> anyhow::Result<()> {
    let work = async |client: &Client, situation: &Situation<'_>| {
        let work = telling_states(client, situation, |text| note(text), create(client, situation, args));
        connection.interrupt().unless_asked(work).await?
    };
    connection.run(Purpose::Ask, work).await
}

async fn create(client: &Client, situation: &Situation<'_>, args: CreateArgs) -> anyhow::Result<()> {
    let named: Vec<UserId> = args.members.iter().chain(&args.direct).cloned().collect();
    named.iter().for_each(tell_odd);
    let wanted = Wanted::of(&args, situation.user.as_deref());
    let besides = besides(&args);
    let done = client.create(new_conversation(args)).await.map_err(|error| {
        let is_forbidden = matches!(error, RequestError::Refused { code: Code::FORBIDDEN, .. });
        match is_forbidden {
            true => anyhow::Error::new(error)
                .context(Hint(wanted.why_not(situation.claims.as_ref(), !named.is_empty()))),
            false => error.into(),
        }
    })?;
    if done.seq.is_none() {
        is_as_wanted(client, &done.conversation, &besides).await?;
        note("it was there already");
    }
    lines([printable(done.conversation.as_str())])?;
    tell_unseen(client, &done.conversation, &named).await;
    Ok(())
}

/// What is asked for besides the name and the kind. Of conversations of two and of notes all else is fixed.
fn besides(args: &CreateArgs) -> already::Wanted {
    let CreateArgs { title, open, members, .. } = args.clone();
    already::Wanted { title, open, members, owner: None }
}

/// Sees whether a conversation that was there already is what was asked for.
async fn is_as_wanted(
    client: &Client,
    conversation: &ConversationName,
    wanted: &already::Wanted,
) -> anyhow::Result<()> {
    let name = conversation.as_str();
    let outside = |why: &str| {
        let hint = Hint("choose another name, or ask somebody who is in it to add you".to_owned());
        anyhow!("{} was there already, and {why}", printable(name)).context(hint)
    };
    let info = match client.describe(conversation).await {
        Ok(info) if info.role.is_none() => return Err(outside("you are not in it")),
        Ok(info) => info,
        Err(RequestError::Refused { code: Code::FORBIDDEN, .. }) => {
            return Err(outside("you are not in it, or your token does not let you see it"));
        }
        Err(error) => return Err(error.into()),
    };
    let members = match wanted.members.is_empty() {
        true => Vec::new(),
        false => all_members(client, conversation).await?,
    };
    let members = members.into_iter().map(|member| member.user).collect();
    let found = Found { title: info.title, open: info.open, members, owners: Vec::new() };
    let Some(lacking) = wanted.lacking(&found) else { return Ok(()) };
    Err(anyhow!(lacking.told(name)).context(Hint(lacking.hint(name, By::User))))
}

/// The name of a conversation that is to be made.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// One of the user's choosing.
    Named(ConversationName),
    /// One that the server makes, which is like this one, or one that follows from who is in it.
    Made(String),
}

impl Wanted {
    fn of(args: &CreateArgs, me: Option<&str>) -> Self {
        let made = if args.channel { MADE[1] } else { MADE[0] };
        let me = me.and_then(|me| UserId::new(me).ok());
        match (&args.conversation, me, &args.direct) {
            (Some(name), ..) => Self::Named(name.clone()),
            (None, Some(me), Some(other)) => Self::Made(ConversationName::direct(&me, other).to_string()),
            (None, Some(me), None) if args.notes => Self::Made(ConversationName::notes(&me).to_string()),
            (None, ..) => Self::Made(made.to_owned()),
        }
    }

    /// Why it may not be made, by what the token says; `has_others`: whether it is to have other members.
    fn why_not(&self, claims: Option<&Claims>, has_others: bool) -> String {
        let writes = |name: &str| claims.is_none_or(|claims| claims.writes(name));
        let is_by_membership = claims.is_some_and(|claims| claims.write.is_none());
        match self {
            Self::Named(name) if !writes(name.as_str()) => {
                let made = MADE.iter().all(|made| writes(made));
                let otherwise = if made { "leave the name out and the server makes one, or " } else { "" };
                format!(
                    "your token does not let you choose this name: {otherwise}{}",
                    token_with("write", name.as_str())
                )
            }
            Self::Made(name) if !writes(name) => {
                let (kind, _) = name.split_once('/').unwrap_or((name, ""));
                format!(
                    "your token narrows what you may make to certain names: {}",
                    token_with("write", &format!("{kind}/*"))
                )
            }
            // Whether such a token names what it makes is as the server's operator has it (`auth.names_freely`).
            Self::Named(_) if is_by_membership && has_others => {
                "either your token does not let you choose this name: leave the name out and the server makes one; or one of \
                 those whom you have named may have blocked you"
                    .to_owned()
            }
            Self::Named(_) if is_by_membership => {
                "your token does not let you choose this name: leave the name out and the server makes one".to_owned()
            }
            Self::Named(_) | Self::Made(_) if has_others => {
                "one of those whom you have named may have blocked you".to_owned()
            }
            Self::Named(_) | Self::Made(_) => {
                "it takes a token that lets you make it: `quoth whoami` shows what yours allows".to_owned()
            }
        }
    }
}

fn new_conversation(args: CreateArgs) -> NewConversation {
    if let Some(user) = args.direct {
        return NewConversation::direct(user.as_str());
    }
    if args.notes {
        return NewConversation::notes();
    }
    let new = match args.channel {
        true => NewConversation::channel(args.title),
        false => NewConversation::group(args.title),
    };
    let new = new.members(args.members.iter().map(|user| user.as_str()));
    let new = if args.open { new.open() } else { new };
    match args.conversation {
        Some(name) => new.name(name.as_str()),
        None => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::claims;

    #[test]
    fn who_may_not_make_it_is_told_how_to_and_no_way_that_is_none() {
        let name = |name: &str| ConversationName::new(name).unwrap();
        let user = |name: &str| UserId::new(name).unwrap();
        let named = || Wanted::Named(name("news"));
        let of = |name: ConversationName| Wanted::Made(name.to_string());
        let direct = || of(ConversationName::direct(&user("alice"), &user("bob")));
        let notes = || of(ConversationName::notes(&user("alice")));
        let (group, channel) = (|| Wanted::Made(MADE[0].to_owned()), || Wanted::Made(MADE[1].to_owned()));
        const ALL: &str = r#"{"sub":"alice"}"#;
        const NOTHING: &str = r#"{"write":[]}"#;
        const TEAM: &str = r#"{"write":["team-*"]}"#;
        const ANY: &str = r#"{"write":["*"]}"#;
        for (wanted, has_others, token, told, is_way_out) in [
            (named(), false, ALL, "does not let you choose this name: leave the name out", true),
            (named(), true, ALL, "may have blocked you", true),
            (named(), true, r#"{"write":["group/*","channel/*"]}"#, "--write 'news'", true),
            (named(), true, TEAM, "--write 'news'", false),
            (named(), false, NOTHING, "does not let you choose this name: ask", false),
            (named(), true, ANY, "blocked you", false),
            (named(), false, ANY, "quoth whoami", false),
            (group(), true, TEAM, "--write 'group/*'", false),
            (channel(), false, TEAM, "--write 'channel/*'", false),
            (group(), true, ALL, "blocked you", false),
            (group(), false, ALL, "quoth whoami", false),
            (direct(), true, TEAM, "--write 'direct/*'", false),
            (direct(), true, r#"{"write":["team-*","direct/*"]}"#, "blocked you", false),
            (notes(), false, NOTHING, "--write 'notes/*'", false),
            (direct(), true, "?", "blocked you", false),
        ] {
            let why = wanted.why_not(claims(token).as_ref(), has_others);
            assert!(why.contains(told), "{wanted:?} {token}: {why}");
            assert_eq!(why.contains("leave the name out"), is_way_out, "{wanted:?} {token}: {why}");
            assert!(has_others || !why.contains("blocked"), "{wanted:?} {token}: {why}");
        }
    }
}
