//! `/v1/conversations` and what is below: managed conversations and their members, changed as their rules
//! allow it to everybody, by an operator who needs to be no member.

use axum::http::{Method, StatusCode};
use quoth_core::membership::{Change, Refusal};
use quoth_protocol::membership::{ConversationKind, Permissions, Role};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::end::end_of;
use super::idempotency;
use super::keys::Scope;
use super::list;
use super::operation::{Answer, Call, Operation, Operations, Parameter, given};
use super::problem::Problem;
use crate::engine::{Caller, Done, name_once};

const CONVERSATION: &str = "/v1/conversations/{conversation}";
const MEMBERS: &str = "/v1/conversations/{conversation}/members";
const MEMBER: &str = "/v1/conversations/{conversation}/members/{user}";
const MUTE: &str = "/v1/conversations/{conversation}/members/{user}/mute";
const MUTE_ALL: &str = "/v1/conversations/{conversation}/mute";
const BAN: &str = "/v1/conversations/{conversation}/bans/{user}";
const SLOW_MODE: &str = "/v1/conversations/{conversation}/slow_mode";
const INVITATIONS: &str = "/v1/conversations/{conversation}/invitations";

/// Members, or conversations, of one page.
const PAGE_MAX: u32 = 1_000;

/// The same when nothing is said.
const PAGE_DEFAULT: u32 = 100;

pub(super) fn operations(operations: Operations) -> Operations {
    of_moderators(of_members(of_conversations(list::operations(operations))))
}

/// A change with what most of them have.
pub(super) fn change(
    id: &'static str,
    method: Method,
    path: &'static str,
    summary: &'static str,
    request: Option<&'static str>,
) -> Operation {
    Operation {
        id,
        method,
        path,
        scope: Some(Scope::Conversations),
        summary,
        parameters: Vec::new(),
        request,
        response: "Changed",
        refusals: &[404, 409],
    }
}

pub(super) fn get(
    id: &'static str,
    path: &'static str,
    summary: &'static str,
    response: &'static str,
) -> Operation {
    Operation { response, ..change(id, Method::GET, path, summary, None) }
}

fn of_conversations(operations: Operations) -> Operations {
    let make = Operation {
        parameters: vec![idempotency::parameter(
            "a group or channel without a name that is asked for again with it by the same key is the same one: `seq` is 0 then",
        )],
        ..change("create", Method::POST, "/v1/conversations", "Make a managed conversation", Some("Create"))
    };
    let invite_summary = "Make an invitation, which is told this once";
    let of_user = "/v1/users/{user}/conversations";
    operations
        .add(make, create)
        .add(get("describe", CONVERSATION, "What a conversation is", "Conversation"), |call| async move {
            let conversation = call.path("conversation")?;
            ask(&call, None, Request::Describe { conversation }).await
        })
        .add(change("rename", Method::PATCH, CONVERSATION, "Set the title", Some("Rename")), rename)
        .add(
            Operation {
                parameters: page("the page begins behind this conversation"),
                ..get("conversationsOf", of_user, "The conversations that a user is in", "Conversations")
            },
            conversations_of,
        )
        .add(
            Operation {
                response: "Invitation",
                ..change("invite", Method::POST, INVITATIONS, invite_summary, Some("Invite"))
            },
            invite,
        )
        .add(
            change("revokeInvitations", Method::DELETE, INVITATIONS, "End all invitations", None),
            |call| async move {
                let conversation = call.path("conversation")?;
                ask(&call, None, Request::RevokeInvitations { conversation }).await
            },
        )
}

fn of_members(operations: Operations) -> Operations {
    operations
        .add(
            Operation {
                parameters: page("the page begins behind this user"),
                ..get("members", MEMBERS, "The members", "Members")
            },
            members,
        )
        .add(
            change("setMember", Method::PUT, MEMBER, "Add a member, or change one", Some("SetMember")),
            set_member,
        )
        .add(change("removeMember", Method::DELETE, MEMBER, "End a membership", None), |call| async move {
            let (conversation, user) = (call.path("conversation")?, call.path("user")?);
            ask(&call, None, Request::Remove { conversation, user }).await
        })
}

fn of_moderators(operations: Operations) -> Operations {
    let (put, delete) = (Method::PUT, Method::DELETE);
    let mute_all = "Keep all who may not moderate from writing";
    operations
        .add(change("mute", put.clone(), MUTE, "Keep a user from writing", Some("Until")), mute)
        .add(change("unmute", delete.clone(), MUTE, "Let a user write again", None), unmute)
        .add(change("muteAll", put.clone(), MUTE_ALL, mute_all, Some("Until")), mute)
        .add(change("unmuteAll", delete.clone(), MUTE_ALL, "Let all write again", None), unmute)
        .add(
            change("ban", put.clone(), BAN, "End a membership and keep the user out", Some("Until")),
            |call| async move {
                let until_ms = until(&call)?;
                ban(&call, until_ms).await
            },
        )
        .add(change("unban", delete, BAN, "Let a user join again", None), |call| async move {
            ban(&call, 0).await
        })
        .add(
            change("slowMode", put, SLOW_MODE, "Set how often each member may write", Some("SlowMode")),
            slow_mode,
        )
}

pub(super) fn page(after: &'static str) -> Vec<Parameter> {
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_DEFAULT });
    vec![
        Parameter {
            name: "after",
            place: "query",
            text: after,
            schema: json!({ "type": "string", "minLength": 1 }),
        },
        Parameter { name: "limit", place: "query", text: "at most so many", schema: limit },
    ]
}

/// Asks as the operator: in the name of a user, or of the key.
pub(super) async fn ask(call: &Call, user: Option<UserId>, request: Request) -> Result<Answer, Problem> {
    let user = match user {
        Some(user) => user,
        None => call.caller()?.name.clone(),
    };
    let conversation = call.path::<ConversationName>("conversation").ok();
    let service = &call.app.service;
    match crate::session::answer(&service.engine, Caller::Operator(user), request).await {
        Ok(mut reply) => {
            if let Reply::Members { members, .. } = &mut reply {
                let users: Vec<&UserId> = members.iter().map(|member| &member.user).collect();
                let statuses = service.sessions.statuses_of(&users).await;
                for (member, status) in members.iter_mut().zip(statuses) {
                    (member.status, member.last_seen_ms) = status;
                }
            }
            // What is in the one variant.
            let reply = json!(reply);
            let inner = reply.as_object().and_then(|variant| variant.values().next());
            Answer::of(inner.unwrap_or(&Value::Null))
        }
        Err(refusal) => Err(refused(call, refusal, conversation).await),
    }
}

pub(super) async fn refused(
    call: &Call,
    refusal: Refusal,
    conversation: Option<ConversationName>,
) -> Problem {
    let Refusal { code, retry_after_ms, reason } = refusal;
    if code != Code::FORBIDDEN && refusal != Refusal::UNMANAGED {
        return Problem::of(code, retry_after_ms, reason);
    }
    let is_there = match &conversation {
        Some(name) => call.app.service.engine.with_state(name, |state| state.is_some()).await.unwrap_or(true),
        None => true,
    };
    if is_there {
        let detail = "the rules of this conversation exclude it for everybody: who is in a direct conversation or in notes is fixed, \
                      a reserved name is the server's to give, and a conversation that all have left is over";
        return Problem::new(StatusCode::FORBIDDEN, "forbidden", detail);
    }
    Problem::not_found("there is no such managed conversation: POST /v1/conversations makes one")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    #[serde(default, deserialize_with = "given")]
    conversation: Option<ConversationName>,
    kind: ConversationKind,
    owner: UserId,
    #[serde(default)]
    title: String,
    #[serde(default)]
    members: Vec<UserId>,
    #[serde(default)]
    open: bool,
}

async fn create(call: Call) -> Result<Answer, Problem> {
    let Create { conversation, kind, owner, title, members, open } = call.json()?;
    let once = idempotency::key(&call)?;
    // All others have a name that a repeat has too.
    if let (Some(key), None, ConversationKind::Group | ConversationKind::Channel) =
        (once, &conversation, kind)
    {
        let name = name_once(kind, &call.caller()?.name, key);
        let change = Change::Create { kind, title, members, open };
        let made = call.app.service.engine.change(Caller::Operator(owner), &name, change).await;
        return match made {
            Ok(Done { conversation, seq, time_ms }) => {
                Answer::of(&json!({ "conversation": conversation, "seq": seq, "time_ms": time_ms }))
            }
            Err(refusal) => Err(refused(&call, refusal, Some(name)).await),
        };
    }
    ask(&call, Some(owner), Request::Create { conversation, kind, title, members, open }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rename {
    title: String,
}

async fn rename(call: Call) -> Result<Answer, Problem> {
    let (conversation, Rename { title }) = (call.path("conversation")?, call.json()?);
    ask(&call, None, Request::Rename { conversation, title }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page<T> {
    pub(super) after: Option<T>,
    limit: Option<u32>,
}

impl<T> Page<T> {
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(PAGE_DEFAULT);
        let is_good = (1..=PAGE_MAX).contains(&limit);
        is_good.then_some(limit).ok_or_else(|| Problem::invalid(format!("limit is from 1 to {PAGE_MAX}")))
    }
}

async fn conversations_of(call: Call) -> Result<Answer, Problem> {
    let page: Page<ConversationName> = call.query()?;
    let limit = page.limit()?;
    ask(&call, Some(call.path("user")?), Request::Conversations { after: page.after, limit }).await
}

async fn members(call: Call) -> Result<Answer, Problem> {
    let page: Page<UserId> = call.query()?;
    let (conversation, limit) = (call.path("conversation")?, page.limit()?);
    ask(&call, None, Request::Members { conversation, after: page.after, limit }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetMember {
    role: Role,
    #[serde(default, deserialize_with = "given")]
    permissions: Option<Permissions>,
}

async fn set_member(call: Call) -> Result<Answer, Problem> {
    let SetMember { role, permissions } = call.json()?;
    let (conversation, user) = (call.path("conversation")?, call.path("user")?);
    ask(&call, None, Request::SetMember { conversation, user, role, permissions }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    #[serde(default, deserialize_with = "given")]
    until_ms: Option<u64>,
}

/// Until when what is asked for is to hold.
fn until(call: &Call) -> Result<u64, Problem> {
    let Until { until_ms } = call.json()?;
    end_of(until_ms, call.app.service.engine.judged_ms())
}

async fn mute(call: Call) -> Result<Answer, Problem> {
    let until_ms = until(&call)?;
    mute_until(&call, until_ms).await
}

async fn unmute(call: Call) -> Result<Answer, Problem> {
    mute_until(&call, 0).await
}

/// Mutes the user of the path, or everybody where there is none in it.
async fn mute_until(call: &Call, until_ms: u64) -> Result<Answer, Problem> {
    let user = if call.has_path("user") { Some(call.path("user")?) } else { None };
    ask(call, None, Request::Mute { conversation: call.path("conversation")?, user, until_ms }).await
}

async fn ban(call: &Call, until_ms: u64) -> Result<Answer, Problem> {
    let (conversation, user) = (call.path("conversation")?, call.path("user")?);
    ask(call, None, Request::Ban { conversation, user, until_ms }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlowMode {
    interval_ms: u32,
}

async fn slow_mode(call: Call) -> Result<Answer, Problem> {
    let (conversation, SlowMode { interval_ms }) = (call.path("conversation")?, call.json()?);
    ask(&call, None, Request::SlowMode { conversation, interval_ms }).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    role: Role,
    #[serde(default)]
    expires_ms: u64,
    #[serde(default)]
    uses_max: u32,
}

async fn invite(call: Call) -> Result<Answer, Problem> {
    let Invite { role, expires_ms, uses_max } = call.json()?;
    let conversation = call.path("conversation")?;
    ask(&call, None, Request::Invite { conversation, role, expires_ms, uses_max }).await
}
