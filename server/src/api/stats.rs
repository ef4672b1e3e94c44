//! `/v1/stats`, `/metrics`, `/v1/healthz` and the document.

use std::path::Path;

use axum::http::Method;
use serde_json::{Value, json};

use super::keys::Scope;
use super::operation::{Answer, Call, Operation, Operations};
use super::problem::Problem;
use super::{App, metrics};
use crate::engine::Outstanding;

pub(super) fn operations(operations: Operations) -> Operations {
    let get = |id, path, scope, summary, response| Operation {
        id,
        method: Method::GET,
        path,
        scope,
        summary,
        parameters: Vec::new(),
        request: None,
        response,
        refusals: &[],
    };
    operations
        .add(get("stats", "/v1/stats", Some(Scope::Stats), "How the server does", "Stats"), stats)
        .add(get("metrics", "/metrics", Some(Scope::Stats), "The same for Prometheus", "Metrics"), metrics)
        .add(get("healthz", "/v1/healthz", None, "Whether the server takes work", "Health"), health)
        .add(get("openapi", "/v1/openapi.json", None, "This document", "Document"), document)
}

async fn health(call: Call) -> Result<Answer, Problem> {
    if call.app.service.phase.is_serving() {
        return Answer::of(&json!({ "status": "serving" }));
    }
    Err(Problem::overloaded("the server is stopping: another one, or this one after its restart, takes work"))
}

async fn document(call: Call) -> Result<Answer, Problem> {
    Answer::of(&*call.app.document)
}

async fn stats(call: Call) -> Result<Answer, Problem> {
    Answer::of(&numbers(&call.app).await)
}

async fn metrics(call: Call) -> Result<Answer, Problem> {
    let outbox = call.app.outbox.as_ref();
    let text =
        metrics::text(&numbers(&call.app).await, outbox.is_some_and(|outbox| outbox.failing().is_some()));
    Ok(Answer::text(metrics::CONTENT_TYPE, text))
}

/// How the server does.
async fn numbers(app: &App) -> Value {
    let store = app.store_dir.clone();
    let store_bytes = tokio::task::spawn_blocking(move || bytes_of(&store)).await.unwrap_or_default();
    let (engine, sessions) = (app.service.engine.stats(), app.service.sessions.counts());
    let limits = &app.service.limits;
    let outbox = app.outbox.as_ref().map(|progress| {
        json!({
            "delivered": progress.delivered(),
            "backlog_bytes": progress.backlog_bytes(),
            "failing": progress.failing(),
        })
    });
    let hooks: serde_json::Map<_, _> = app
        .service
        .hooks
        .counts()
        .into_iter()
        .map(|(kind, counts)| (kind.to_owned(), json!(counts)))
        .collect();
    let (seen, Outstanding { erased, gone_by_ms, .. }) = (engine.seen, app.service.engine.outstanding());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": u64::try_from(app.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "connections": app.service.admission.connections(),
        "connections_max": limits.connections_max,
        "sessions": sessions.connections,
        "users": sessions.users,
        "revocations": sessions.revocations,
        "publishes": engine.stored,
        "queued_publishes": engine.queued,
        "queued_publishes_max": engine.queued_max,
        "log_position": engine.position,
        "view_bytes": engine.view_bytes,
        "reclaimed_windows": engine.reclaimed_windows,
        "reclaimed_bytes": engine.reclaimed_bytes,
        "rewritten_bytes": engine.rewritten_bytes,
        "damaged_conversations": engine.damaged_conversations,
        "live_bytes": seen.map(|seen| seen.live_bytes),
        "expired_bytes": seen.map(|seen| seen.expired_bytes),
        "oldest_expired_ms": seen.and_then(|seen| seen.oldest_expired_ms),
        "erased_bytes": erased.bytes,
        "erased_gone_by_ms": gone_by_ms,
        "store_bytes": store_bytes,
        "storage_full": engine.is_short,
        "outbox": outbox,
        "hooks": hooks,
    })
}

/// What the files of a folder take, in bytes. One that goes meanwhile counts nothing.
fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_of(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
