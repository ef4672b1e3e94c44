//! Requests of the control stream. Each is let through by the one guard, and answered when what it has
//! changed is stored.

use std::sync::Arc;

use quoth_core::authorize::{Action, Place, authorize};
use quoth_core::conversation::each_once;
use quoth_core::inbox::Settings;
use quoth_core::membership::{Actor, Change, ConversationState, Refusal};
use quoth_core::messages::Alteration;
use quoth_core::retention::Kept;
use quoth_protocol::limits::{CONVERSATIONS_PAGE_MAX, INVITATION_BYTES_MAX, MEMBERS_PAGE_MAX};
use quoth_protocol::membership::{ConversationKind, InvitationHash, Permissions};
use quoth_protocol::presence::Status;
use quoth_protocol::reply::{ConversationInfo, MemberInfo, Reply};
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::ViewError;

use super::connection::Shared;
use super::judged::{judge_edit, may_join};
use super::{adds, devices, inbox, messages, presence};
use crate::engine::{Caller, Done, Engine, Gone, Retain, Retained, new_invitation, new_name};

/// Answers a request.
pub(super) async fn serve(shared: &Shared, request: Request) -> Reply {
    answer_here(shared, request).await.unwrap_or_else(refused)
}

/// Answers a connection: what is a matter of its own, and what others are to it.
async fn answer_here(shared: &Shared, request: Request) -> Result<Reply, Refusal> {
    match request {
        Request::Sessions => Ok(Reply::Sessions { sessions: devices::all(shared).await }),
        Request::EndSession { device } => devices::end(shared, &device),
        Request::WatchPresence { conversation, watch: true } => {
            presence::watch(shared, &conversation).await?;
            Ok(nothing_stored(conversation))
        }
        Request::WatchPresence { conversation, watch: false } => {
            shared.watcher.unwatch(&conversation);
            Ok(nothing_stored(conversation))
        }
        Request::Mark { conversation, delivered, read } => {
            inbox::mark(shared, &conversation, delivered, read).await
        }
        Request::Receipts { conversation, seq } => inbox::receipts(shared, &conversation, seq).await,
        Request::Inbox { after, limit } => inbox::page(shared, after.as_deref(), limit).await,
        Request::WatchInbox { since, watch, held } => inbox::watch(shared, since, watch, &held).await,
        Request::SetInbox { conversation, archived, muted_until_ms, pinned } => {
            inbox::set(shared, &conversation, Settings { archived, muted_until_ms, pinned }).await
        }
        request => {
            let user = shared.grant.borrow().user.clone();
            if let (Request::Join { conversation, invitation }, Some(hook)) =
                (&request, &shared.service.hooks.join)
                && let Err(refused) = may_join(hook, &user, conversation, invitation.is_some()).await
            {
                return Ok(refused);
            }
            // Anew each time: a token that has come while a hook was asked may no longer allow it.
            let caller = || Caller::User(Arc::clone(&shared.grant.borrow()));
            let request = match (request, &shared.service.hooks.publish) {
                (Request::Edit { conversation, seq, body, mentions }, Some(hook)) => {
                    // A backend is shown no texts of those who have no say there.
                    let edit = Alteration::Edit { body: body.clone(), mentions: mentions.clone() };
                    shared.service.engine.may_alter(&caller(), &conversation, &edit).await?;
                    match judge_edit(hook, &user, &conversation, seq, body, &mentions).await {
                        Ok(body) => Request::Edit { conversation, seq, body, mentions },
                        Err(refused) => return Ok(refused),
                    }
                }
                (request, _) => request,
            };
            let asker = Arc::clone(&shared.grant.borrow());
            adds::may(shared, &asker, &request).await?;
            says(shared, caller(), &request).await?;
            let mut reply = answer(&shared.service.engine, caller(), request).await?;
            if let Reply::Members { members, .. } = &mut reply {
                let users: Vec<&UserId> = members.iter().map(|member| &member.user).collect();
                let statuses = presence::of_each(&shared.service, &user, &users).await?;
                for (member, status) in members.iter_mut().zip(statuses) {
                    (member.status, member.last_seen_ms) = status;
                }
            }
            Ok(reply)
        }
    }
}

/// Counts what a request says to a conversation among its publishes, but for tokens with `publish_as`. Of
/// those who have no say there nothing is counted: what others may say is not theirs to take.
async fn says(shared: &Shared, caller: Caller, request: &Request) -> Result<(), Refusal> {
    let (conversation, alteration) = match request {
        Request::Edit { conversation, body, mentions, .. } => {
            (conversation, Alteration::Edit { body: body.clone(), mentions: mentions.clone() })
        }
        Request::React { conversation, reaction, on, .. } => {
            (conversation, Alteration::React { reaction: reaction.clone(), on: *on })
        }
        _ => return Ok(()),
    };
    let Some(paces) = shared.paces.as_ref().filter(|paces| paces.counts_conversations()) else {
        return Ok(());
    };
    shared.service.engine.may_alter(&caller, conversation, &alteration).await?;
    paces.say(conversation).map_err(|wait_ms| Refusal {
        code: Code::RATE_LIMITED,
        retry_after_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
        reason: "too much is said in this conversation at the moment",
    })
}

/// The answer to a request whose task has failed.
pub(super) fn fault() -> Reply {
    refused(Refusal::new(Code::INTERNAL, "a fault of the server"))
}

/// The answer to a request that has taken too long. What is in the committer's queue by then is done all the
/// same; all else ends with the task.
pub(super) fn timed_out() -> Reply {
    refused(Refusal::new(
        Code::TIMED_OUT,
        "this took too long and may be done all the same: look before you ask for a new conversation or invitation once more",
    ))
}

fn refused(Refusal { code, retry_after_ms, reason }: Refusal) -> Reply {
    Reply::Refused { code, retry_after_ms, reason: reason.to_owned() }
}

/// Answers whoever asks: what is a matter of a connection has no place here.
pub(crate) async fn answer(engine: &Engine, caller: Caller, request: Request) -> Result<Reply, Refusal> {
    let change = async |name: ConversationName, change: Change| {
        engine.change(caller.clone(), &name, change).await.map(done)
    };
    match request {
        Request::Create { conversation, kind, title, members, open } => {
            let name = name_of(&caller, conversation, kind, &members)?;
            change(name, Change::Create { kind, title, members, open }).await
        }
        Request::Join { conversation, invitation } => {
            if invitation.as_ref().is_some_and(|text| text.len() > INVITATION_BYTES_MAX) {
                // None that the server has made.
                return Err(Refusal::FORBIDDEN);
            }
            let invitation = invitation.as_deref().map(InvitationHash::of);
            change(conversation, Change::Join { invitation }).await
        }
        Request::Leave { conversation } => change(conversation, Change::Leave).await,
        Request::SetMember { conversation, user, role, permissions } => {
            change(conversation, Change::SetMember { user, role, permissions }).await
        }
        Request::Remove { conversation, user } => change(conversation, Change::Remove { user }).await,
        Request::Rename { conversation, title } => change(conversation, Change::Rename { title }).await,
        Request::Mute { conversation, user, until_ms } => {
            change(conversation, Change::Mute { user, until_ms }).await
        }
        Request::Ban { conversation, user, until_ms } => {
            change(conversation, Change::Ban { user, until_ms }).await
        }
        Request::SlowMode { conversation, interval_ms } => {
            change(conversation, Change::SlowMode { interval_ms }).await
        }
        Request::Invite { conversation, role, expires_ms, uses_max } => {
            let invitation = new_invitation();
            let hash = InvitationHash::of(&invitation);
            change(conversation, Change::Invite { hash, role, expires_ms, uses_max }).await?;
            Ok(Reply::Invitation { invitation })
        }
        Request::RevokeInvitations { conversation } => change(conversation, Change::RevokeInvitations).await,
        Request::Describe { conversation } => describe(engine, &caller, &conversation).await,
        Request::Members { conversation, after, limit } => {
            members(engine, &caller, &conversation, after.as_ref(), limit).await
        }
        Request::Block { user, blocked } => engine.block(caller, user, blocked).await.map(done),
        Request::Blocked => {
            let users = engine.blocked_by(caller.actor().user()).await.map_err(|error| unreadable(&error))?;
            Ok(Reply::Users { users })
        }
        Request::Conversations { after, limit } => {
            conversations(engine, &caller, after.as_ref(), limit).await
        }
        Request::SetRetention { conversation, retention, dry_run } => {
            let retain = retention.map_or(Retain::Class, Retain::Policy);
            set_retention(engine, caller, conversation, retain, dry_run).await
        }
        Request::Edit { conversation, seq, body, mentions } => {
            let mentions = each_once(mentions);
            messages::alter(engine, caller, &conversation, seq, Alteration::Edit { body, mentions }).await
        }
        Request::Revoke { conversation, seq } => {
            messages::alter(engine, caller, &conversation, seq, Alteration::Revoke).await
        }
        Request::React { conversation, seq, reaction, on } => {
            messages::alter(engine, caller, &conversation, seq, Alteration::React { reaction, on }).await
        }
        Request::Hide { conversation, seq } => engine.hide(caller, &conversation, seq).await.map(done),
        Request::Messages { conversation, seqs } => {
            messages::states(engine, &caller, &conversation, seqs).await
        }
        Request::Sessions
        | Request::EndSession { .. }
        | Request::WatchPresence { .. }
        | Request::Mark { .. }
        | Request::Receipts { .. }
        | Request::Inbox { .. }
        | Request::WatchInbox { .. }
        | Request::SetInbox { .. } => Err(Refusal::invalid("this server does not serve this request")),
    }
}

/// The answer to what was done without anything having to be stored.
pub(super) const fn nothing_stored(conversation: ConversationName) -> Reply {
    Reply::Done { conversation, seq: Seq::ZERO, time_ms: 0 }
}

pub(super) fn done(Done { conversation, seq, time_ms }: Done) -> Reply {
    Reply::Done { conversation, seq, time_ms }
}

/// Sets how a conversation is kept, or says what would come of it.
async fn set_retention(
    engine: &Engine,
    caller: Caller,
    conversation: ConversationName,
    retain: Retain,
    dry_run: bool,
) -> Result<Reply, Refusal> {
    let Retained { done, effect } = match dry_run {
        false => engine.retain(caller, &conversation, retain).await?,
        true => Retained {
            effect: engine.would_retain(&caller, &conversation, retain).await?,
            done: Done { conversation, seq: Seq::ZERO, time_ms: 0 },
        },
    };
    let (Done { conversation, seq, time_ms }, Gone { events, bytes }) = (done, effect.beyond());
    Ok(Reply::Retained { conversation, seq, time_ms, retention: effect.policy, events, bytes })
}

/// The name of a conversation that is to be made.
fn name_of(
    caller: &Caller,
    asked: Option<ConversationName>,
    kind: ConversationKind,
    members: &[UserId],
) -> Result<ConversationName, Refusal> {
    let me = caller.actor().user();
    match (kind, asked, members) {
        (ConversationKind::Group | ConversationKind::Channel, Some(name), _) => match name.reserved() {
            None => Ok(name),
            Some(_) => Err(Refusal::invalid("this name is reserved: leave it to the server to make one")),
        },
        (ConversationKind::Group | ConversationKind::Channel, None, _) => Ok(new_name(kind)),
        (ConversationKind::Direct, None, [other]) => Ok(ConversationName::direct(me, other)),
        (ConversationKind::Notes, None, []) => Ok(ConversationName::notes(me)),
        (ConversationKind::Direct, ..) => {
            Err(Refusal::invalid("a direct conversation has one other member and no name of its own"))
        }
        (ConversationKind::Notes, ..) => {
            Err(Refusal::invalid("notes have no other members and no name of their own"))
        }
    }
}

async fn describe(engine: &Engine, caller: &Caller, name: &ConversationName) -> Result<Reply, Refusal> {
    let now_ms = engine.judged_ms();
    let kept = engine.kept(name).await.map_err(|error| unreadable(&error))?;
    let describe = |state: Option<&ConversationState>| {
        let (actor, place) = (caller.actor(), Place { name, state, is_blocked: false });
        authorize(actor, Action::Describe, place, now_ms)?;
        let told = match (state, actor) {
            (Some(state), _) => info(name, state, kept, actor.user(), now_ms),
            (None, Actor::User(_)) => {
                unmanaged(name, authorize(actor, Action::Publish, place, now_ms).is_ok(), kept)
            }
            (None, Actor::Operator { .. }) => return Err(Refusal::UNMANAGED),
        };
        Ok(Reply::Conversation(told))
    };
    engine.with_state(name, describe).await.map_err(|error| unreadable(&error))?
}

async fn members(
    engine: &Engine,
    caller: &Caller,
    name: &ConversationName,
    after: Option<&UserId>,
    limit: u32,
) -> Result<Reply, Refusal> {
    let now_ms = engine.judged_ms();
    let limit = limit.min(MEMBERS_PAGE_MAX) as usize;
    let page = |state: Option<&ConversationState>| {
        let state = allowed(caller.actor(), Action::Members, name, state, now_ms)?;
        let mut rest = state.members_after(after);
        let members = rest.by_ref().take(limit).map(|(user, member, present)| MemberInfo {
            user: user.clone(),
            role: present.role,
            permissions: present.permissions,
            muted_until_ms: until(member.muted_until_ms, now_ms),
            status: Status::Offline,
            last_seen_ms: 0,
        });
        let members = members.collect();
        Ok(Reply::Members { members, more: rest.next().is_some() })
    };
    engine.with_state(name, page).await.map_err(|error| unreadable(&error))?
}

async fn conversations(
    engine: &Engine,
    caller: &Caller,
    after: Option<&ConversationName>,
    limit: u32,
) -> Result<Reply, Refusal> {
    let (me, now_ms) = (caller.actor().user(), engine.judged_ms());
    let limit = limit.min(CONVERSATIONS_PAGE_MAX) as usize;
    let mut after = after.cloned();
    loop {
        let page = engine.conversations_of(me, after.as_ref(), limit).await;
        let (names, more) = page.map_err(|error| unreadable(&error))?;
        let mut conversations = Vec::with_capacity(names.len());
        for name in &names {
            let kept = engine.kept(name).await.map_err(|error| unreadable(&error))?;
            // Those that the token is not for are left out, as is one that the user has left since the page
            // was read.
            let describe = |state: Option<&ConversationState>| {
                let state = allowed(caller.actor(), Action::Describe, name, state, now_ms).ok()?;
                state.present(me).map(|_| info(name, state, kept, me, now_ms))
            };
            conversations
                .extend(engine.with_state(name, describe).await.map_err(|error| unreadable(&error))?);
        }
        // Whoever asks goes on behind the last one, so there must be one.
        if conversations.is_empty() && more && !names.is_empty() {
            after = names.last().cloned();
            continue;
        }
        return Ok(Reply::Conversations { conversations, more });
    }
}

pub(super) fn allowed<'a>(
    actor: Actor<'_>,
    action: Action<'_>,
    name: &ConversationName,
    state: Option<&'a ConversationState>,
    now_ms: u64,
) -> Result<&'a ConversationState, Refusal> {
    authorize(actor, action, Place { name, state, is_blocked: false }, now_ms)?;
    state.ok_or(Refusal::FORBIDDEN)
}

/// A conversation, for one user. Of how it is kept, what was set for it and the policy of its class, a hold
/// is not told.
fn info(
    name: &ConversationName,
    state: &ConversationState,
    (Kept { policy, .. }, of_class): (Kept, Retention),
    me: &UserId,
    now_ms: u64,
) -> ConversationInfo {
    let present = state.present(me);
    // What two users call their conversation is each other.
    let other = state.other(me).filter(|_| present.is_some());
    ConversationInfo {
        conversation: name.clone(),
        kind: Some(state.kind()),
        title: other.map_or_else(|| state.title(), UserId::as_str).to_owned(),
        open: state.is_open(),
        role: present.map(|present| present.role),
        permissions: present.map_or(Permissions::NONE, |present| present.permissions),
        members: state.members_count(),
        muted_until_ms: until(state.muted_until_ms(), now_ms),
        slow_mode_interval_ms: state.slow_mode_interval_ms(),
        retention: policy.unwrap_or(of_class),
        own_retention: policy.is_some(),
        version: state.version(),
    }
}

/// A conversation without members, for one who reads it and may write there or not.
fn unmanaged(
    name: &ConversationName,
    writes: bool,
    (Kept { policy, .. }, of_class): (Kept, Retention),
) -> ConversationInfo {
    let writes = if writes { Permissions::WRITE } else { Permissions::NONE };
    ConversationInfo {
        conversation: name.clone(),
        kind: None,
        title: String::new(),
        open: false,
        role: None,
        permissions: Permissions::READ.union(writes),
        members: 0,
        muted_until_ms: 0,
        slow_mode_interval_ms: 0,
        retention: policy.unwrap_or(of_class),
        own_retention: policy.is_some(),
        version: Seq::ZERO,
    }
}

/// A time that has come already is no time.
const fn until(until_ms: u64, now_ms: u64) -> u64 {
    if until_ms > now_ms { until_ms } else { 0 }
}

pub(super) fn unreadable(error: &ViewError) -> Refusal {
    tracing::error!(%error, "what is stored of a conversation or of a user cannot be read");
    Refusal::new(Code::STORE_FAILED, "what is stored of this cannot be read")
}
