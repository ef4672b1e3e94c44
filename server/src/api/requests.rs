//! Bounds of requests: how many at once, and how long each.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use super::ApiLimits;
use super::problem::Problem;

/// Answers requests within bounds. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    routes: TowerToHyperService<Router>,
    places: Arc<Semaphore>,
    timeout: Duration,
}

impl Requests {
    pub(super) fn new(router: Router, limits: ApiLimits) -> Self {
        Self {
            routes: TowerToHyperService::new(router),
            places: Arc::new(Semaphore::new(limits.requests_max)),
            timeout: Duration::from_millis(limits.request_timeout_ms),
        }
    }

    /// The answer to a request.
    pub(super) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut response = match self.places.try_acquire() {
            Ok(_place) => self.in_time(request).await,
            Err(_) => {
                let detail =
                    "there are too many requests at once (api.requests_max): try again, with fewer of them";
                Problem::overloaded(detail).answer()
            }
        };
        response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }

    async fn in_time(&self, request: Request<Body>) -> Response<Body> {
        let answers = hyper::service::Service::call(&self.routes, request);
        match tokio::time::timeout(self.timeout, answers).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => {
                let never: Infallible = never;
                match never {}
            }
            Err(_) => {
                let detail = format!(
                    "the request took more than {} ms (api.request_timeout_ms) and may have been done in part: try again, a \
                     publish with the same idempotency key",
                    self.timeout.as_millis()
                );
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", detail).answer()
            }
        }
    }
}
