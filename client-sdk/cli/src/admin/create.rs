//! Whether a conversation that `quoth admin conversation create` finds there already is what was asked for.

use anyhow::{Context as _, anyhow};
use quoth_client::UserId;
use serde_json::Value;

use super::api::Api;
use super::args::{ConversationCommand, Kind, OneCommand};
use super::call::{Call, encoded};
use crate::already::{By, Found, Wanted};
use crate::hint::Hint;

/// Members that are asked for at once: as many as a server tells.
const PAGE_ITEMS: usize = 1_000;

/// What a command asks for besides a name and a kind; `None` where nothing is that could be otherwise.
pub(super) fn wanted(command: &OneCommand) -> Option<Wanted> {
    match command {
        OneCommand::Conversation(ConversationCommand::Create {
            kind: Kind::Group | Kind::Channel,
            owner,
            title,
            member,
            open,
            ..
        }) => Some(Wanted {
            title: title.clone(),
            open: *open,
            members: member.clone(),
            owner: Some(owner.clone()),
        }),
        _ => None,
    }
}

/// Sees whether a conversation is what was asked for, if the answer says that it was there already.
///
/// # Errors
/// What is not so, or why it cannot be known.
pub(super) fn check(api: &Api, wanted: &Wanted, answer: &Value) -> anyhow::Result<()> {
    let Some(name) = answer["conversation"].as_str().filter(|_| answer["seq"] == 0) else { return Ok(()) };
    let path = format!("/v1/conversations/{}", encoded(name));
    let info = api.send(&Call::get(path.clone()))?;
    let mut found = Found {
        title: info["title"].as_str().unwrap_or_default().to_owned(),
        open: info["open"] == true,
        ..Found::default()
    };
    loop {
        let after = found.members.last().map(|user| format!("&after={}", encoded(user))).unwrap_or_default();
        let page = api.send(&Call::get(format!("{path}/members?limit={PAGE_ITEMS}{after}")))?;
        let members = page["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        for member in members {
            let user = UserId::new(member["user"].as_str().unwrap_or_default());
            let user = user.context("the server tells of a member who is no user")?;
            if member["role"] == "owner" {
                found.owners.push(user.clone());
            }
            found.members.push(user);
        }
        let is_seen = wanted.members.iter().chain(&wanted.owner).all(|user| found.members.contains(user));
        if is_seen || members.is_empty() || page["more"] != true {
            break;
        }
    }
    let Some(lacking) = wanted.lacking(&found) else { return Ok(()) };
    let role = if info["kind"] == "channel" { "reader" } else { "member" };
    Err(anyhow!(lacking.told(name)).context(Hint(lacking.hint(name, By::Operator { role }))))
}
