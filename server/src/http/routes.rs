//! What is answered where.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, ORIGIN, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use axum::routing::get;
use hyper::upgrade::OnUpgrade;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use quoth_lanes::Format;
use quoth_protocol::{UserId, WEBSOCKET_PATH};
use serde::Deserialize;
use serde_json::json;

use super::origin::{self, Schemes};
use super::{Site, proxies, upgrade};
use crate::engine::{Clock as _, SystemClock};
use crate::session::{Place, Service};

/// When a client should try again that was one too many, in seconds.
const RETRY_AFTER_S: &str = "2";

/// What is known of who sends a request.
#[derive(Clone)]
pub(super) struct Client {
    /// The address of who sends it: a proxy's, if there is one.
    pub(super) peer: IpAddr,
    pub(super) schemes: Schemes,
    /// Where a WebSocket goes that is granted.
    pub(super) granted: Arc<Mutex<Option<Granted>>>,
}

/// A WebSocket that begins once its answer is sent.
pub(super) struct Granted {
    pub(super) on_upgrade: OnUpgrade,
    pub(super) format: Format,
    /// The address of the client, who may be behind a proxy.
    pub(super) address: IpAddr,
    /// Its place among the connections.
    pub(super) place: Place,
}

#[derive(Clone)]
struct App {
    site: Arc<Site>,
    service: Service,
}

/// The routes of a worker. Cheap to clone.
#[derive(Clone)]
pub(super) struct Routes(TowerToHyperService<Router>);

impl Routes {
    pub(super) fn new(site: Arc<Site>, service: Service) -> Self {
        let mut router = Router::new()
            .route(WEBSOCKET_PATH, get(websocket))
            .route("/.well-known/quoth", get(discovery))
            .route("/healthz", get(health))
            .fallback(page);
        if site.tokens.is_some() {
            router = router.route("/dev/token", get(token));
        }
        Self(TowerToHyperService::new(router.with_state(App { site, service })))
    }

    /// The answer to a request.
    pub(super) async fn answer(&self, client: Client, request: Request) -> Response<Body> {
        let mut request = request;
        request.extensions_mut().insert(client);
        let answered = hyper::service::Service::call(&self.0, request).await;
        let mut response = answered.unwrap_or_else(|never: std::convert::Infallible| match never {});
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// An answer of text for people.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    set(&mut response, CONTENT_TYPE, "text/plain; charset=utf-8");
    response
}

fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

async fn websocket(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    request: Request,
) -> Response<Body> {
    let wanted = match upgrade::wanted(
        request.method(),
        request.version(),
        request.headers(),
        client.schemes,
        &app.site.allowed_origins,
    ) {
        Ok(wanted) => wanted,
        Err(refused) => return refused.answer(),
    };
    let full = |status, says: &'static str| {
        let mut full = text(status, says);
        set(&mut full, RETRY_AFTER, RETRY_AFTER_S);
        full
    };
    let admission = &app.service.admission;
    let among_all = if app.service.phase.is_serving() { admission.connection() } else { None };
    let Some(among_all) = among_all else {
        let says = "there are too many connections: try again later\n";
        return full(StatusCode::SERVICE_UNAVAILABLE, says);
    };
    let address = proxies::client_of(client.peer, request.headers(), &app.site.trusted_proxies);
    let Some(place) = admission.place(address, among_all) else {
        let says = "there are too many connections from this address: try again later\n";
        return full(StatusCode::TOO_MANY_REQUESTS, says);
    };
    let on_upgrade = hyper::upgrade::on(request);
    *client.granted.lock() = Some(Granted { on_upgrade, format: wanted.format, address, place });
    wanted.answer()
}

async fn discovery(State(app): State<App>) -> Response<Body> {
    let mut response = Response::new(Body::from(app.site.discovery.clone()));
    set(&mut response, CONTENT_TYPE, "application/json");
    // Nothing here is secret, and the page of an application is often of another origin.
    set(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    response
}

async fn health(State(app): State<App>) -> Response<Body> {
    let (status, says) = if app.service.phase.is_serving() {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    };
    let mut response = text(status, says);
    set(&mut response, CACHE_CONTROL, "no-store");
    response
}

async fn page(State(app): State<App>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    let Some(page) = &app.site.page else {
        return text(StatusCode::NOT_FOUND, "there is nothing here; clients connect to /v1/ws\n");
    };
    if !matches!(method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "files are only read\n");
    }
    page.answer(uri.path(), &headers)
        .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "there is no such file\n"))
}

/// Which token is wanted.
#[derive(Deserialize)]
struct TokenQuery {
    user: String,
}

/// Signs a token for the development server's own page, and for programs on this machine, which can read the
/// key as well. Not for pages of others, nor for a name that somebody else has pointed at this machine.
async fn token(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    query: Result<Query<TokenQuery>, QueryRejection>,
) -> Response<Body> {
    let header = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own = client.peer.to_canonical().is_loopback()
        && header(HOST).is_some_and(origin::is_loopback)
        && header(HeaderName::from_static("sec-fetch-site")).is_none_or(|site| site == "same-origin")
        && origin::check(header(ORIGIN), header(HOST), client.schemes, &[]).is_ok();
    let Some(tokens) = app.site.tokens.as_ref().filter(|_| is_own) else {
        return text(StatusCode::FORBIDDEN, "tokens are for this server's own page only\n");
    };
    let Ok(Query(TokenQuery { user })) = query else {
        return text(StatusCode::BAD_REQUEST, "give a user, as in /dev/token?user=alice\n");
    };
    let signed = UserId::new(user.as_str()).map_err(|error| error.to_string()).and_then(|user| {
        // Reads a file, which a development server may.
        tokens.of_user(&user, SystemClock.unix_ms() / 1_000)
    });
    match signed {
        Ok(token) => {
            let mut response = Response::new(Body::from(json!({ "token": token, "user": user }).to_string()));
            set(&mut response, CONTENT_TYPE, "application/json");
            set(&mut response, CACHE_CONTROL, "no-store");
            set(&mut response, HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
            response
        }
        Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}
