//! The server API: HTTP for backends, on a port of its own. Whoever has a key acts as the operator:
//! memberships and clients' limits do not hold for it, scopes do.
//!
//! | module | has |
//! |---|---|
//! | `settings` | what is configured |
//! | `keys` | who may ask what |
//! | `listener`, `visitors`, `requests` | connections, and bounds of requests |
//! | `operation`, `openapi`, `schemas` | the table of operations, from which routes and document are made |
//! | `problem` | refusals |
//! | `audit` | which key has changed what, in the log |
//! | `publish`, `poster` | messages, each stored once |
//! | `messages` | what is done to messages that are said |
//! | `conversations` | managed conversations and their members |
//! | `moderation` | bans and invitations of these |
//! | `blocks` | whom users want nothing of |
//! | `end` | until when what is asked for holds |
//! | `sessions` | who is signed in, and whose tokens are revoked |
//! | `history`, `page`, `stats` | what is read |
//! | `retention` | how conversations are kept, and what of it is freed |
//! | `erasure`, `erasing` | users whose messages go |

mod audit;
mod blocks;
mod conversations;
mod end;
mod erasing;
mod erasure;
mod history;
mod idempotency;
mod keys;
mod list;
mod listener;
mod messages;
mod metrics;
mod moderation;
mod openapi;
mod operation;
mod page;
mod poster;
mod problem;
mod publish;
mod requests;
mod retention;
mod schemas;
mod sessions;
mod settings;
mod stats;
mod visitors;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;

use crate::outbox::Progress;
use crate::session::Service;
use audit::Strangers;
use erasure::Erasures;
pub use keys::{ApiKeySpec, Scope};
pub(crate) use keys::{Keys, make as make_key};
pub(crate) use listener::{Running, bind, serve};
use operation::Operations;
use poster::Poster;
pub use settings::{ApiConfig, ApiLimits, ApiListen};

/// What requests are answered with. Cheap to clone.
#[derive(Clone)]
struct App {
    service: Service,
    keys: Arc<Keys>,
    poster: Arc<Poster>,
    erasures: Erasures,
    strangers: Arc<Strangers>,
    limits: ApiLimits,
    store_dir: Arc<PathBuf>,
    outbox: Option<Arc<Progress>>,
    started: Instant,
    document: Arc<serde_json::Value>,
}

/// Everything that is served.
fn operations() -> Operations {
    [
        publish::operations,
        messages::operations,
        conversations::operations,
        moderation::operations,
        blocks::operations,
        history::operations,
        retention::operations,
        erasure::operations,
        sessions::operations,
        stats::operations,
    ]
    .into_iter()
    .fold(Operations::new(), |operations, add| add(operations))
}

/// The routes of a service on the current runtime.
fn router(
    service: Service,
    keys: Arc<Keys>,
    limits: ApiLimits,
    store_dir: PathBuf,
    outbox: Option<Arc<Progress>>,
) -> Router {
    let (router, paths) = operations().into_parts();
    let poster = Arc::new(Poster::new(service.engine.clone()));
    let erasures = Erasures::resume(service.clone());
    let document = Arc::new(openapi::document(paths));
    router.with_state(App {
        service,
        keys,
        poster,
        erasures,
        strangers: Arc::default(),
        limits,
        store_dir: Arc::new(store_dir),
        outbox,
        started: Instant::now(),
        document,
    })
}
