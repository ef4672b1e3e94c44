//! `/v1/users/{user}` and `/v1/revocations`: who is signed in and who is there, and how that is ended.

use axum::http::{Method, StatusCode};
use quoth_core::revocation::{Extent, InForce, Revoked};
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, DeviceId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conversations::{Page, page};
use super::end::end_of;
use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations, given};
use super::problem::Problem;
use crate::auth::LEEWAY_S;
use crate::sessions::{Revocation, RevocationPlace, RevokeError};

/// Bytes of a reason that clients show.
const REASON_BYTES_MAX: usize = 256;

pub(super) fn operations(operations: Operations) -> Operations {
    let operation = |id, method, path, summary, request, response| Operation {
        id,
        method,
        path,
        scope: Some(Scope::Sessions),
        summary,
        parameters: Vec::new(),
        request,
        response,
        refusals: &[409],
    };
    let get = |id, path, summary, response| operation(id, Method::GET, path, summary, None, response);
    let post = |id, path, summary, request, response| {
        operation(id, Method::POST, path, summary, Some(request), response)
    };
    operations
        .add(
            get(
                "sessions",
                "/v1/users/{user}/sessions",
                "A user's devices: those that are connected, and those that were",
                "Sessions",
            ),
            sessions,
        )
        .add(
            get(
                "presence",
                "/v1/users/{user}/presence",
                "Whether a user is there, and on which devices",
                "Presence",
            ),
            presence,
        )
        .add(
            post(
                "kick",
                "/v1/users/{user}/kick",
                "End a user's connections, or those of one device; they may come back",
                "Kick",
                "Closed",
            ),
            kick,
        )
        .add(
            post(
                "revoke",
                "/v1/revocations",
                "Revoke tokens, and end the connections that were signed in with them",
                "Revoke",
                "Revoked",
            ),
            revoke,
        )
        .add(
            Operation {
                parameters: page("the page begins behind the one with this `next`"),
                ..get("revocations", "/v1/revocations", "What is revoked", "Revocations")
            },
            revocations,
        )
        .add(
            post(
                "liftRevocation",
                "/v1/revocations/lift",
                "End all revocations of a user, a device or a token",
                "Lift",
                "Lifted",
            ),
            lift,
        )
}

async fn sessions(call: Call) -> Result<Answer, Problem> {
    let user: UserId = call.path("user")?;
    let sessions = call.app.service.sessions.session_infos(&user).await;
    Answer::of(&json!({ "sessions": sessions }))
}

async fn presence(call: Call) -> Result<Answer, Problem> {
    let user: UserId = call.path("user")?;
    let (_, last_seen_ms) = call.app.service.sessions.status(&user).await;
    let devices = call.app.service.sessions.devices_as_told(&user).await;
    // Of the devices that are named, so that the two cannot be of different moments.
    let is = |status: Status| devices.iter().any(|info| info.status == status);
    let best = [Status::Online, Status::Away].into_iter().find(|status| is(*status));
    let status = best.unwrap_or(Status::Offline);
    let devices: Vec<_> = devices
        .into_iter()
        .map(
            |info| json!({ "device": info.device, "status": info.status, "last_seen_ms": info.last_seen_ms }),
        )
        .collect();
    Answer::of(&json!({ "user": user, "status": status, "last_seen_ms": last_seen_ms, "devices": devices }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kick {
    #[serde(default, deserialize_with = "given")]
    device: Option<DeviceId>,
    #[serde(default)]
    reason: String,
}

async fn kick(call: Call) -> Result<Answer, Problem> {
    let (user, Kick { device, reason }): (UserId, _) = (call.path("user")?, call.json()?);
    let reason = shown(&reason)?;
    let closed = call.app.service.sessions.kick(&user, device.as_ref(), &reason);
    Answer::of(&json!({ "closed": closed }))
}

/// A reason as clients show it.
fn shown(reason: &str) -> Result<String, Problem> {
    if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
        return Err(Problem::invalid(format!(
            "a reason has at most {REASON_BYTES_MAX} bytes and no control characters"
        )));
    }
    Ok(reason.to_owned())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    #[serde(default, deserialize_with = "given")]
    user: Option<UserId>,
    #[serde(default, deserialize_with = "given")]
    device: Option<DeviceId>,
    #[serde(default, deserialize_with = "given")]
    token_id: Option<String>,
    #[serde(default, deserialize_with = "given")]
    issued_before_ms: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    expires_ms: Option<u64>,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lift {
    #[serde(default, deserialize_with = "given")]
    user: Option<UserId>,
    #[serde(default, deserialize_with = "given")]
    device: Option<DeviceId>,
    #[serde(default, deserialize_with = "given")]
    token_id: Option<String>,
}

/// Which tokens are meant.
fn revoked(
    user: Option<UserId>,
    device: Option<DeviceId>,
    token_id: Option<String>,
) -> Result<Revoked, Problem> {
    match (user, device, token_id) {
        (Some(user), device, None) => Ok(Revoked::User { user, device }),
        (None, None, Some(id)) if (1..=crate::auth::TOKEN_ID_BYTES_MAX).contains(&id.len()) => {
            Ok(Revoked::Token { id })
        }
        (None, None, Some(_)) => Err(Problem::invalid(format!(
            "token_id is a token's jti: 1 to {} bytes",
            crate::auth::TOKEN_ID_BYTES_MAX
        ))),
        _ => Err(Problem::invalid("give either token_id, or user and perhaps a device")),
    }
}

async fn revoke(call: Call) -> Result<Answer, Problem> {
    let Revoke { user, device, token_id, issued_before_ms, expires_ms, reason } = call.json()?;
    let is_token = token_id.is_some();
    let revoked = revoked(user, device, token_id)?;
    if is_token && issued_before_ms.is_some() {
        return Err(Problem::invalid(
            "issued_before_ms is for a user's tokens: a single one is revoked whenever it was issued",
        ));
    }
    let reason = shown(&reason)?;
    let now_ms = call.app.service.engine.now_ms();
    // Without a time: those that are out by now, by an issuer's clock that is ahead too. A user who gets a
    // new token after that may come back.
    let by_now_ms = now_ms.saturating_add(LEEWAY_S * 1_000);
    let issued_before_ms = issued_before_ms.unwrap_or(if is_token { u64::MAX } else { by_now_ms });
    // As long as they are good: that is longer than their `exp` says.
    let over_ms = expires_ms.map(|expires_ms| expires_ms.saturating_add(LEEWAY_S * 1_000));
    let extent = Extent { issued_before_ms, over_ms: end_of(over_ms, now_ms)? };
    let made = call.app.service.sessions.revoke(&revoked, extent, &reason, now_ms).await;
    let Revocation { closed, in_force, covered_by } = made.map_err(failed)?;
    let rows: Vec<Value> = in_force.iter().map(|in_force| row(&revoked, in_force)).collect();
    let covered_by = covered_by.map(|in_force| row(&revoked, &in_force));
    Answer::of(&json!({ "closed": closed, "in_force": rows, "covered_by": covered_by }))
}

async fn revocations(call: Call) -> Result<Answer, Problem> {
    let page: Page<String> = call.query()?;
    let after: Option<RevocationPlace> =
        page.after.as_ref().map(|after| after.parse()).transpose().map_err(|error: &str| {
            Problem::invalid(format!("after: {error}: give the `next` of the page before"))
        })?;
    let limit = usize::try_from(page.limit()?).unwrap_or(usize::MAX);
    let (sessions, now_ms) = (&call.app.service.sessions, call.app.service.engine.now_ms());
    let (revoked, next) = sessions.revocations(after.as_ref(), limit, now_ms).await.map_err(|error| {
        tracing::error!(error, "the revocations cannot be listed");
        Problem::of(Code::STORE_FAILED, 0, "the store cannot be read: see the server's log")
    })?;
    let revoked: Vec<Value> = revoked.iter().map(|(revoked, in_force)| row(revoked, in_force)).collect();
    Answer::of(&json!({ "revocations": revoked, "next": next.map(|next| next.to_string()) }))
}

fn row(revoked: &Revoked, in_force: &InForce) -> Value {
    let (user, device, token_id) = match revoked {
        Revoked::User { user, device } => (Some(user), device.as_ref(), None),
        Revoked::Token { id } => (None, None, Some(id)),
    };
    let Extent { issued_before_ms, over_ms } = in_force.extent;
    json!({
        "user": user,
        "device": device,
        "token_id": token_id,
        "issued_before_ms": user.map(|_| issued_before_ms),
        "expires_ms": over_ms,
        "reason": &*in_force.reason,
    })
}

async fn lift(call: Call) -> Result<Answer, Problem> {
    let Lift { user, device, token_id } = call.json()?;
    let lifted = call.app.service.sessions.lift(&revoked(user, device, token_id)?).await.map_err(failed)?;
    Answer::of(&json!({ "lifted": lifted }))
}

fn failed(error: RevokeError) -> Problem {
    match error {
        RevokeError::TooMany(_) => Problem::new(StatusCode::CONFLICT, "too_many", error.to_string()),
        RevokeError::NotStored(_) => Problem::of(Code::STORE_FAILED, 0, format!("{error}: try again")),
    }
}

#[cfg(test)]
mod tests {
    use super::{REASON_BYTES_MAX, shown};

    #[test]
    fn a_reason_is_short_and_in_one_line() {
        let longest = "r".repeat(REASON_BYTES_MAX);
        assert_eq!(shown(&longest), Ok(longest.clone()));
        for wrong in [format!("{longest}r"), "a\nb".to_owned()] {
            assert!(shown(&wrong).unwrap_err().detail.contains("at most 256 bytes"), "{wrong}");
        }
    }
}
