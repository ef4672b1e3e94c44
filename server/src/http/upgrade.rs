//! The handshake of a WebSocket (RFC 6455, section 4.2), as rules over a request's headers.

use axum::body::Body;
use axum::http::header::{
    CONNECTION, HOST, HeaderName, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quoth_lanes::Format;
use quoth_protocol::{SUBPROTOCOL_JSON, SUBPROTOCOL_POSTCARD};
use tungstenite::handshake::derive_accept_key;

use super::origin::{self, Schemes, WebOrigin};

/// The subprotocols, and how the messages of each are written.
const SUBPROTOCOLS: [(&str, Format); 2] =
    [(SUBPROTOCOL_POSTCARD, Format::Postcard), (SUBPROTOCOL_JSON, Format::Json)];

/// What a request asks for that may be granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) format: Format,
    subprotocol: &'static str,
    accept: String,
}

/// Why a request is not granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    status: StatusCode,
    header: Option<(HeaderName, &'static str)>,
    text: String,
}

/// What this request asks for.
pub(super) fn wanted(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    schemes: Schemes,
    allowed: &[WebOrigin],
) -> Result<Wanted, Refused> {
    let is_upgrade = method == Method::GET
        && version == Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket");
    if !is_upgrade {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            header: Some((UPGRADE, "websocket")),
            text: "this is for WebSocket clients\n".to_owned(),
        });
    }
    if only(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(Refused {
            status: StatusCode::UPGRADE_REQUIRED,
            header: Some((SEC_WEBSOCKET_VERSION, "13")),
            text: "this server speaks version 13 of WebSocket, which is RFC 6455\n".to_owned(),
        });
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let key = key.ok_or_else(|| bad("Sec-WebSocket-Key must be 16 bytes in base64\n"))?;
    let host = only(headers, &HOST).ok_or_else(|| bad("one Host is needed\n"))?;
    // One that is no text is of no page.
    let origin = headers.get(ORIGIN).map(|value| value.to_str().unwrap_or("null"));
    origin::check(origin, Some(host), schemes, allowed).map_err(|text| Refused {
        status: StatusCode::FORBIDDEN,
        header: None,
        text,
    })?;
    let known = |name: &str| SUBPROTOCOLS.into_iter().find(|(known, _)| *known == name);
    let (subprotocol, format) =
        tokens(headers, &SEC_WEBSOCKET_PROTOCOL).find_map(known).ok_or_else(|| {
            bad(&format!("Sec-WebSocket-Protocol must name {SUBPROTOCOL_POSTCARD} or {SUBPROTOCOL_JSON}\n"))
        })?;
    Ok(Wanted { format, subprotocol, accept: derive_accept_key(key.as_bytes()) })
}

impl Wanted {
    /// The answer with which the protocol changes.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(self.subprotocol));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

impl Refused {
    pub(super) fn answer(self) -> Response<Body> {
        let mut response = super::routes::text(self.status, self.text);
        if self.status == StatusCode::UPGRADE_REQUIRED {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn bad(text: &str) -> Refused {
    Refused { status: StatusCode::BAD_REQUEST, header: None, text: text.to_owned() }
}

/// The header's value, if there is exactly one.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

/// The elements of a header that is a list.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
    use quoth_lanes::Format;

    use super::super::origin::WITH_TLS;
    use super::{Refused, Wanted, wanted};

    const GOOD: [(&str, &str); 6] = [
        ("host", "chat.example"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "other, quoth.v1.json, quoth.v1.postcard"),
    ];

    /// What comes of the good headers, with one in place of its own.
    fn with(name: &str, value: Option<&str>) -> Result<Wanted, Refused> {
        let mut headers = HeaderMap::new();
        let others = GOOD.into_iter().filter(|(other, _)| *other != name);
        for (name, value) in others.chain(value.map(|value| (name, value))) {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        wanted(&Method::GET, Version::HTTP_11, &headers, WITH_TLS, &[])
    }

    #[test]
    fn a_good_request_is_granted_with_the_first_subprotocol_that_is_known() {
        let granted = with("origin", None).unwrap();
        assert_eq!(granted.format, Format::Json);
        let answer = granted.answer();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        // The example of RFC 6455, section 1.3.
        assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "quoth.v1.json");
    }

    #[test]
    fn whatever_is_missing_or_wrong_has_its_own_answer() {
        let refused = |name, value| with(name, value).unwrap_err();
        for (name, value, status) in [
            ("connection", None, StatusCode::UPGRADE_REQUIRED),
            ("connection", Some("close"), StatusCode::UPGRADE_REQUIRED),
            ("upgrade", Some("h2c"), StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-version", None, StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-version", Some("8"), StatusCode::UPGRADE_REQUIRED),
            ("sec-websocket-key", None, StatusCode::BAD_REQUEST),
            ("sec-websocket-key", Some("c2hvcnQ="), StatusCode::BAD_REQUEST),
            ("host", None, StatusCode::BAD_REQUEST),
            ("origin", Some("https://evil.example"), StatusCode::FORBIDDEN),
            ("origin", Some("null"), StatusCode::FORBIDDEN),
            ("sec-websocket-protocol", None, StatusCode::BAD_REQUEST),
            ("sec-websocket-protocol", Some("quoth.v2.json"), StatusCode::BAD_REQUEST),
        ] {
            let refused = refused(name, value);
            assert_eq!(refused.status, status, "{name}: {value:?}: {}", refused.text);
            assert!(refused.text.ends_with('\n'));
        }
        let answer = refused("sec-websocket-version", Some("8")).answer();
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
        assert!(refused("sec-websocket-protocol", None).text.contains("quoth.v1.json"));
    }
}
