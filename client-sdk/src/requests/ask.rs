//! A request, over as many connections as it takes.

use quoth_protocol::frame::feature;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::RequestError;
use crate::link::{Link, Outgoing, Session, next_session};
use crate::state::Reason;

/// An answer, and the session that it came on.
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) epoch: u64,
    /// Whether it was asked before, with nobody knowing what came of it.
    pub(super) was_repeated: bool,
}

/// Asks until there is an answer. What would be done twice is asked once.
pub(super) async fn ask(
    link: &mut watch::Receiver<Link>,
    request: &Request,
    deadline: Instant,
) -> Result<Answer, RequestError> {
    let mut lost_epoch = None;
    let mut may_be_done = false;
    let failed = |may_be_done, reason| match may_be_done {
        true => RequestError::UnknownOutcome { reason },
        false => RequestError::NotSent { reason },
    };
    loop {
        let session = match timeout_at(deadline, next_session(link, lost_epoch)).await {
            Ok(Ok(session)) => session,
            Ok(Err(reason)) => return Err(failed(may_be_done, reason)),
            Err(_) => return Err(failed(may_be_done, Reason::TimedOut)),
        };
        lost_epoch = Some(session.epoch);
        match timeout_at(deadline, ask_once(&session, request, &mut may_be_done)).await {
            Ok(Some(answer)) => return answer,
            Ok(None) if may_be_done && !is_repeatable(request) => {
                return Err(failed(true, Reason::Transport("the connection has ended".to_owned())));
            }
            Ok(None) => {}
            Err(_) => return Err(failed(may_be_done, Reason::TimedOut)),
        }
    }
}

/// A request over one connection; `None` when that ends before the answer comes. Dropping the future gives up
/// the answer.
async fn ask_once(
    session: &Session,
    request: &Request,
    may_be_done: &mut bool,
) -> Option<Result<Answer, RequestError>> {
    let signed_in = session.signed_in.as_ref()?;
    if signed_in.welcome.features & needed_feature(request) == 0 {
        return Some(Err(RequestError::Unsupported));
    }
    let room = signed_in.control.reserve().await.ok()?;
    let (waiter, answer) = oneshot::channel();
    let was_repeated = std::mem::replace(may_be_done, true);
    room.send(Outgoing::Request(request.clone(), waiter));
    let reply = answer.await.ok()?;
    Some(Ok(Answer { reply, epoch: session.epoch, was_repeated }))
}

/// The feature without which a server does not take it.
fn needed_feature(request: &Request) -> u64 {
    match request {
        Request::Edit { .. }
        | Request::Revoke { .. }
        | Request::React { .. }
        | Request::Hide { .. }
        | Request::SetRetention { .. }
        | Request::Mark { .. }
        | Request::Receipts { .. }
        | Request::Inbox { .. }
        | Request::WatchInbox { .. }
        | Request::SetInbox { .. }
        | Request::Messages { .. } => feature::MESSAGES,
        _ => feature::MEMBERSHIP,
    }
}

/// Whether it changes nothing when it has been done already.
fn is_repeatable(request: &Request) -> bool {
    match request {
        Request::Create { conversation, kind, .. } => {
            conversation.is_some() || matches!(kind, ConversationKind::Direct | ConversationKind::Notes)
        }
        Request::Invite { .. } => false,
        _ => true,
    }
}
