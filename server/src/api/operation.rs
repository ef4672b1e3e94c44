//! One table for the routes and for the document that describes them: an operation that is served is
//! documented, with the scope that it asks for, and nothing is documented that is not served.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Query, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use axum::routing::{MethodFilter, MethodRouter};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::keys::{Caller, Scope};
use super::problem::Problem;
use super::visitors::Visitor;
use super::{App, audit, openapi};

/// What is served at one method and path.
pub(super) struct Operation {
    /// Its name in generated clients.
    pub(super) id: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What the caller's key must allow; `None` for anybody without a key.
    pub(super) scope: Option<Scope>,
    pub(super) summary: &'static str,
    /// Parameters besides those of the path.
    pub(super) parameters: Vec<Parameter>,
    /// Name of the body's schema.
    pub(super) request: Option<&'static str>,
    /// Name of the answer's schema.
    pub(super) response: &'static str,
    /// Statuses of refusals besides those that every operation has.
    pub(super) refusals: &'static [u16],
}

/// A parameter of the query or a header.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `query` or `header`.
    pub(super) place: &'static str,
    pub(super) text: &'static str,
    pub(super) schema: Value,
}

/// A request that may be done.
pub(super) struct Call {
    pub(super) app: App,
    caller: Option<Caller>,
    path: BTreeMap<String, String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// Who asks.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        self.caller.as_ref().ok_or_else(|| Problem::unauthorized("this needs a key"))
    }

    /// A part of the path, as what it is to be.
    pub(super) fn path<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<T, Problem> {
        let text = self.path.get(name).map(String::as_str).unwrap_or_default();
        text.parse().map_err(|error| Problem::invalid(format!("{name} in the path: {error}")))
    }

    /// Whether the path has such a part.
    pub(super) fn has_path(&self, name: &str) -> bool {
        self.path.contains_key(name)
    }

    /// The parameters of the query.
    pub(super) fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let query = Query::try_from_uri(&self.uri);
        query.map(|Query(query)| query).map_err(|error| Problem::invalid(error.body_text()))
    }

    /// A header that is given at most once.
    pub(super) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let Some(first) = values.next() else { return Ok(None) };
        let text = first.to_str().ok().filter(|_| values.next().is_none());
        text.map(Some).ok_or_else(|| Problem::invalid(format!("{name} must be one header of ASCII")))
    }

    /// The body.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let content_type =
            self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send the body as JSON, with the header Content-Type: application/json",
            ));
        }
        parsed(&self.body).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }
}

/// A JSON object. A list of a struct's fields in their order, which serde takes for one too, is none.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    match body.trim_ascii_start().first() {
        Some(b'{') | None => serde_json::from_slice(body).map_err(|error| error.to_string()),
        Some(_) => Err("expected a JSON object".to_owned()),
    }
}

/// A field that may be left out, but is not null where it stands.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// What is answered.
pub(super) struct Answer {
    content_type: &'static str,
    body: String,
}

impl Answer {
    /// An answer of this value.
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        let internal = |error| {
            tracing::error!(%error, "an answer cannot be written as JSON");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "the answer cannot be written: see the server's log",
            )
        };
        let body = serde_json::to_string(value).map_err(internal)?;
        Ok(Self { content_type: "application/json", body })
    }

    /// A text of another type.
    pub(super) const fn text(content_type: &'static str, body: String) -> Self {
        Self { content_type, body }
    }
}

type Done = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send>>;

/// The operations of a server: its routes and its document.
pub(super) struct Operations {
    router: Router<App>,
    paths: Map<String, Value>,
}

impl Operations {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), paths: Map::new() }
    }

    /// Serves and documents an operation.
    pub(super) fn add<F, Fut>(mut self, operation: Operation, handler: F) -> Self
    where
        F: Fn(Call) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Answer, Problem>> + Send + 'static,
    {
        let path = self.paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = openapi::operation(&operation);
        let method = MethodFilter::try_from(operation.method.clone()).unwrap_or(MethodFilter::GET);
        let (path, operation) = (operation.path, Arc::new(operation));
        let route = move |State(app): State<App>,
                          path: Result<RawPathParams, RawPathParamsRejection>,
                          request: Request| {
            let (handler, operation) = (handler.clone(), Arc::clone(&operation));
            async move {
                let handler = |call| -> Done { Box::pin(handler(call)) };
                serve(app, &operation, path, request, handler).await.unwrap_or_else(Problem::answer)
            }
        };
        self.router = self.router.route(path, MethodRouter::new().on(method, route));
        self
    }

    /// The routes, and the paths of the document.
    pub(super) fn into_parts(self) -> (Router<App>, Map<String, Value>) {
        let router = self.router.fallback(nothing_here).method_not_allowed_fallback(not_allowed);
        (router, self.paths)
    }
}

async fn nothing_here(uri: Uri) -> Response<Body> {
    let detail = format!("there is nothing at {}: GET /v1/openapi.json has all there is", uri.path());
    Problem::not_found(detail).answer()
}

async fn not_allowed(method: Method, uri: Uri) -> Response<Body> {
    let detail = format!("{method} is not for {}: GET /v1/openapi.json has the methods", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).answer()
}

/// Checks what every request is checked for, and does it.
async fn serve(
    app: App,
    operation: &Operation,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    handler: impl FnOnce(Call) -> Done,
) -> Result<Response<Body>, Problem> {
    let caller = match operation.scope {
        Some(scope) => Some(authorized(&app, &request, operation, scope)?),
        None => None,
    };
    let path = path.map_err(|_| Problem::invalid("the path must be UTF-8, percent-encoded"))?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (parts, body) = request.into_parts();
    let body = match operation.request {
        Some(_) => read(&parts.headers, body, app.limits.body_bytes_max).await?,
        None => Bytes::new(),
    };
    let asked = (caller.clone(), parts.uri.clone(), body.clone());
    let call = Call { app, caller, path, uri: parts.uri, headers: parts.headers, body };
    let answer = handler(call).await;
    if let (Some(caller), uri, body) = asked {
        let (status, code) = match &answer {
            Ok(_) => (StatusCode::OK, ""),
            Err(problem) => (problem.status, problem.code.as_str()),
        };
        audit::changed(operation, &caller, &uri, &body, status, code);
    }
    let Answer { content_type, body } = answer?;
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whose key the request has, if it may do this.
fn authorized(app: &App, request: &Request, operation: &Operation, scope: Scope) -> Result<Caller, Problem> {
    let caller = caller(app, request.headers()).inspect_err(|_| {
        let peer = request.extensions().get::<SocketAddr>().copied();
        app.strangers.count(peer, request.uri(), Instant::now());
    })?;
    if let Some(visitor) = request.extensions().get::<Visitor>() {
        visitor.has_key();
    }
    if caller.may(scope) {
        return Ok(caller);
    }
    let (name, scope) = (&caller.name, scope.name());
    audit::changed(operation, &caller, request.uri(), b"", StatusCode::FORBIDDEN, "scope_missing");
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "scope_missing",
        format!(
            "the key {name} may not do this: give it the scope {scope} in api.keys, or use one that has it"
        ),
    ))
}

/// Whose key a request has.
fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, another) = (values.next(), values.next());
    let value = value.filter(|_| another.is_none()).and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| value.split_once(' '));
    let key = key.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key.trim());
    let key = key.ok_or_else(|| {
        Problem::unauthorized(
            "give a key of api.keys in the header Authorization, as in `Authorization: Bearer KEY`",
        )
    })?;
    app.keys.caller(key).ok_or_else(|| {
        Problem::unauthorized(
            "the key is none of api.keys: it may have been replaced, or be another server's",
        )
    })
}

/// Reads a body, of which no more is taken than its limit.
async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!(
            "the body has more than {bytes_max} bytes (api.body_bytes_max): send it in several requests"
        );
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    };
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|told| usize::try_from(told).map_or(true, |told| told > bytes_max)) {
        return Err(too_large());
    }
    axum::body::to_bytes(body, bytes_max).await.map_err(|error| {
        // Of all that can be wrong only this has a cause of its own.
        if std::error::Error::source(&error).is_some_and(|source| source.to_string().contains("limit")) {
            too_large()
        } else {
            Problem::invalid(format!("the body was not sent to its end: {error}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::parsed;

    #[derive(Debug, PartialEq, Eq, serde::Deserialize)]
    struct Body {
        #[serde(default)]
        count: u32,
    }

    #[test]
    fn a_body_is_an_object_and_no_list_of_its_fields() {
        assert_eq!(parsed(b" \n{}"), Ok(Body { count: 0 }));
        assert_eq!(parsed(b"{\"count\":2}"), Ok(Body { count: 2 }));
        for body in [&b"[]"[..], b"[2]", b"2", b"", b"{} {}"] {
            assert!(parsed::<Body>(body).is_err(), "{body:?}");
        }
    }
}
