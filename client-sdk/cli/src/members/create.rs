//! `quoth conversation create`.

use quoth_client::protocol::ConversationName;
use quoth_client::{Client, Code, NewConversation, RequestError, UserId};

use super::named::{tell_odd, tell_unseen};
use crate::args::CreateArgs;
use crate::asking::lines;
use crate::claims::Claims;
use crate::connection::{Connection, Purpose};
use crate::hint::{Hint, Situation, quoted};
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
    let done = client.create(new_conversation(args)).await.map_err(|error| {
        let is_forbidden = matches!(error, RequestError::Refused { code: Code::FORBIDDEN, .. });
        match is_forbidden {
            true => anyhow::Error::new(error).context(Hint(wanted.why_not(situation.claims.as_ref()))),
            false => error.into(),
        }
    })?;
    if done.seq.is_none() {
        note("it was there already");
    }
    lines([printable(done.conversation.as_str())])?;
    tell_unseen(client, &done.conversation, &named).await;
    Ok(())
}

/// The name of a conversation that is to be made, as far as it is known, and what it is.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// A name of the user's choosing.
    Named(ConversationName),
    /// One that the server makes.
    Made(&'static str),
    /// One that follows from who is in it.
    Of(ConversationName),
}

impl Wanted {
    fn of(args: &CreateArgs, me: Option<&str>) -> Self {
        let made = Self::Made(if args.channel { MADE[1] } else { MADE[0] });
        let me = me.and_then(|me| UserId::new(me).ok());
        match (&args.conversation, me, &args.direct) {
            (Some(name), ..) => Self::Named(name.clone()),
            (None, Some(me), Some(other)) => Self::Of(ConversationName::direct(&me, other)),
            (None, Some(me), None) if args.notes => Self::Of(ConversationName::notes(&me)),
            (None, ..) => made,
        }
    }

    /// Why it may not be made, by what the token says.
    fn why_not(&self, claims: Option<&Claims>) -> String {
        let writes = |name: &str| claims.is_none_or(|claims| claims.writes(name));
        let without_claim = claims.is_some_and(|claims| claims.write.is_none());
        let token = |pattern: &str| {
            format!(
                "ask the server's operator for one whose `write` has {pattern} beside what this one does, which \
                 `quoth-server token --write {}` makes",
                quoted(pattern)
            )
        };
        match self {
            Self::Named(name) if without_claim || !writes(name.as_str()) => {
                let made = MADE.iter().all(|made| writes(made));
                let otherwise = if made { "leave the name out and the server makes one, or " } else { "" };
                format!("your token does not let you choose this name: {otherwise}{}", token(name.as_str()))
            }
            Self::Made(name) if !writes(name) => {
                let (kind, _) = name.split_once('/').unwrap_or((name, ""));
                format!(
                    "your token narrows what you may make to certain names: {}",
                    token(&format!("{kind}/*"))
                )
            }
            Self::Of(name) if !writes(name.as_str()) => {
                let (kind, _) = name.as_str().split_once('/').unwrap_or((name.as_str(), ""));
                format!(
                    "your token narrows what you may make to certain names: {}",
                    token(&format!("{kind}/*"))
                )
            }
            Self::Named(_) | Self::Made(_) | Self::Of(_) => {
                "one of those whom you have named may have blocked you".to_owned()
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
        let direct = || Wanted::Of(ConversationName::direct(&user("alice"), &user("bob")));
        let notes = || Wanted::Of(ConversationName::notes(&user("alice")));
        const NOTHING: &str = r#"{"write":[]}"#;
        const TEAM: &str = r#"{"write":["team-*"]}"#;
        for (wanted, token, told, is_way_out) in [
            (named(), r#"{"sub":"alice"}"#, "--write 'news'", true),
            (named(), r#"{"write":["group/*","channel/*"]}"#, "--write 'news'", true),
            (named(), TEAM, "--write 'news'", false),
            (named(), NOTHING, "does not let you choose this name: ask", false),
            (named(), r#"{"write":["*"]}"#, "blocked you", false),
            (Wanted::Made(MADE[0]), TEAM, "--write 'group/*'", false),
            (Wanted::Made(MADE[1]), TEAM, "--write 'channel/*'", false),
            (Wanted::Made(MADE[0]), r#"{"sub":"alice"}"#, "blocked you", false),
            (direct(), TEAM, "--write 'direct/*'", false),
            (direct(), r#"{"write":["team-*","direct/*"]}"#, "blocked you", false),
            (notes(), NOTHING, "--write 'notes/*'", false),
            (direct(), "?", "blocked you", false),
        ] {
            let why = wanted.why_not(claims(token).as_ref());
            assert!(why.contains(told), "{wanted:?} {token}: {why}");
            assert_eq!(why.contains("leave the name out"), is_way_out, "{wanted:?} {token}: {why}");
        }
    }
}
