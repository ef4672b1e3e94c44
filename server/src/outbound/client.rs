//! The client.

use std::path::Path;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long a connection that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long what counts for nothing of an answer is read.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// How much an answer may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time for all of it, from the look-up of the name to the answer's last byte.
    pub timeout: Duration,
    /// Bytes of the answer's body.
    pub body_bytes_max: usize,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status; redirects are among them, since none is followed.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection, no TLS, or no HTTP.
    #[error("{0}")]
    Http(String),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The body is too large.
    #[error("the answer has over {0} bytes")]
    TooLarge(usize),
}

/// Makes requests, and keeps connections for the next ones. Cheap to clone.
#[derive(Clone)]
pub struct Client(hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client that trusts the machine's certificate authorities, and those in a PEM file if there is one.
    ///
    /// # Errors
    /// When the file has no certificate authority.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let tls = quoth_certs::outbound_config(ca_file).map_err(|error| error.to_string())?;
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }

    /// Asks for what is at `uri`.
    ///
    /// # Errors
    /// When there is no answer within the limits.
    pub async fn get(&self, uri: &Uri, limits: Limits) -> Result<Answer, Failure> {
        let request = Request::get(uri).body(Full::default());
        self.send(request.map_err(|error| Failure::Http(error.to_string()))?, limits).await
    }

    /// Sends a request of whose answer nothing counts but the status. Dropping the future ends it.
    ///
    /// # Errors
    /// When there is no status in time.
    pub async fn send_for_status(
        &self,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<StatusCode, Failure> {
        let answered = async {
            let response = self.0.request(request).await.map_err(|error| Failure::Http(chain(&error)))?;
            Ok((response.status(), response.into_body()))
        };
        match tokio::time::timeout(limits.timeout, answered).await {
            Ok(Ok((status, answer))) => {
                // Read so that the connection can be used again, if there is little.
                let reads = Limited::new(answer, limits.body_bytes_max).collect();
                let _read_or_not = tokio::time::timeout(DRAIN_TIMEOUT, reads).await;
                Ok(status)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Failure::Timeout(limits.timeout)),
        }
    }

    /// Sends a request. Dropping the future ends it.
    ///
    /// # Errors
    /// When there is no answer within the limits.
    pub async fn send(&self, request: Request<Full<Bytes>>, limits: Limits) -> Result<Answer, Failure> {
        let answered = async {
            let response = self.0.request(request).await.map_err(|error| Failure::Http(chain(&error)))?;
            body(response, limits.body_bytes_max).await
        };
        match tokio::time::timeout(limits.timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout(limits.timeout)),
        }
    }
}

async fn body(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, Failure> {
    let status = response.status();
    match Limited::new(response.into_body(), bytes_max).collect().await {
        Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(bytes_max)),
        Err(error) => Err(Failure::Http(chain(&*error))),
    }
}

/// An error and what caused it: the client's own text says no more than that it could not connect.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{Request, StatusCode};
    use bytes::Bytes;
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::{Client, Failure, Limits};

    #[tokio::test]
    async fn an_answer_of_which_the_status_counts_may_be_long_or_never_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut tcp, _)) = listener.accept().await {
                let _request = tcp.read(&mut [0; 4_096]).await.unwrap();
                tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nmuch").await.unwrap();
                open.push(tcp);
            }
        });
        let client = Client::new(None).unwrap();
        for body_bytes_max in [2, 1_000] {
            let limits = Limits { timeout: Duration::from_secs(30), body_bytes_max };
            let request = || Request::post(&uri).body(Full::<Bytes>::default()).unwrap();
            assert_eq!(client.send_for_status(request(), limits).await.unwrap(), StatusCode::OK);
            if body_bytes_max == 2 {
                let read = client.send(request(), limits).await;
                assert!(matches!(read, Err(Failure::TooLarge(2))), "as the others have it");
            }
        }
    }
}
