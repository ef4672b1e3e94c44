//! The chat page's files, which are part of this program. They are compressed once, when they are first asked
//! for.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::secret::hex;

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the page may load and connect to. Nothing else may show it in a frame.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'";

/// The page's files by their paths.
#[derive(Debug)]
pub(super) struct Page(HashMap<&'static str, File>);

#[derive(Debug)]
struct File {
    content_type: &'static str,
    etag: HeaderValue,
    bytes: &'static [u8],
    /// Compressed in each of [`CODINGS`], if that is smaller.
    compressed: [OnceLock<Option<Bytes>>; CODINGS.len()],
}

/// How a file is compressed.
type Compress = fn(&[u8]) -> std::io::Result<Vec<u8>>;

/// Codings by the names that HTTP has for them, the smallest first.
const CODINGS: [(&str, Compress); 2] = [("br", brotli), ("gzip", gzip)];

fn brotli(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    const QUALITY: u32 = 9;
    const WINDOW_BITS: u32 = 18;
    const BUFFER_BYTES: usize = 4096;
    let mut writer = brotli::CompressorWriter::new(Vec::new(), BUFFER_BYTES, QUALITY, WINDOW_BITS);
    writer.write_all(bytes)?;
    Ok(writer.into_inner())
}

fn gzip(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether this program was built with the page.
pub(crate) const HAS_PAGE: bool = !FILES.is_empty();

impl Page {
    /// The page that this program was built with.
    pub(super) fn built_in() -> Self {
        Self::of(FILES)
    }

    fn of(files: &[(&'static str, &'static [u8])]) -> Self {
        Self(files.iter().map(|(path, bytes)| (*path, File::new(path, bytes))).collect())
    }

    /// The answer to a request for a path, which begins with a slash; `None` if there is no such file.
    pub(super) fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response<Body>> {
        let name = path.strip_prefix('/')?;
        let file = self.0.get(if name.is_empty() { "index.html" } else { name })?;
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
        set(CONTENT_TYPE, file.content_type);
        set(CACHE_CONTROL, "no-cache");
        set(VARY, "Accept-Encoding");
        set(CONTENT_SECURITY_POLICY, POLICY);
        set(REFERRER_POLICY, "no-referrer");
        if let Some((coding, compressed)) = file.compressed_for(request) {
            set(CONTENT_ENCODING, coding);
            *response.body_mut() = Body::from(compressed);
        } else {
            *response.body_mut() = Body::from(file.bytes);
        }
        response.headers_mut().insert(ETAG, file.etag.clone());
        let is_known =
            |tag: &str| tag == "*" || tag.trim_start_matches("W/").as_bytes() == file.etag.as_bytes();
        if names(request, &IF_NONE_MATCH, is_known) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_ENCODING);
        }
        Some(response)
    }
}

impl File {
    fn new(path: &str, bytes: &'static [u8]) -> Self {
        let etag = format!("\"{}\"", &hex(digest(&SHA256, bytes).as_ref())[..32]);
        Self {
            content_type: content_type(path),
            etag: HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
            bytes,
            compressed: Default::default(),
        }
    }

    /// The file in the smallest coding that the request accepts; `None` as it is.
    fn compressed_for(&self, request: &HeaderMap) -> Option<(&'static str, Bytes)> {
        let codings = CODINGS.iter().zip(&self.compressed);
        codings.into_iter().find_map(|((coding, compress), compressed)| {
            let is_accepted = names(request, &ACCEPT_ENCODING, |accepted| accepted == *coding);
            let made =
                || compress(self.bytes).ok().filter(|made| made.len() < self.bytes.len()).map(Bytes::from);
            let compressed = is_accepted.then(|| compressed.get_or_init(made).clone())??;
            Some((*coding, compressed))
        })
    }
}

/// Whether an element of a header that is a list is such a one, whatever its weight unless that is 0.
fn names(headers: &HeaderMap, name: &HeaderName, is_such: impl Fn(&str) -> bool) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|element| {
        let (value, weight) = element.split_once(";q=").unwrap_or((element, "1"));
        is_such(value.trim()) && weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::body::Body;
    use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
    use flate2::read::GzDecoder;

    use super::Page;

    const SCRIPT: &[u8] = &[b'x'; 5_000];

    fn page() -> Page {
        Page::of(&[("index.html", b"<p>"), ("assets/app.js", SCRIPT)])
    }

    fn get(path: &str, headers: &[(&'static str, &str)]) -> Option<Response<Body>> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        page().answer(path, &headers.collect::<HeaderMap>())
    }

    async fn body(response: Response<Body>) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn files_are_served_as_what_they_are_and_compressed_for_who_can_read_it() {
        let root = get("/", &[("accept-encoding", "gzip")]).unwrap();
        assert_eq!(root.headers()["content-type"], "text/html; charset=utf-8");
        assert!(root.headers().get("content-encoding").is_none(), "too small to gain by it");
        assert_eq!(body(root).await, b"<p>");
        let plain = get("/assets/app.js", &[("accept-encoding", "zstd, gzip;q=0")]).unwrap();
        assert_eq!(body(plain).await, SCRIPT);
        let smallest = get("/assets/app.js", &[("accept-encoding", "gzip, br")]).unwrap();
        assert_eq!(smallest.headers()["content-encoding"], "br");
        let (mut text, smallest) = (Vec::new(), body(smallest).await);
        brotli::Decompressor::new(&smallest[..], 4096).read_to_end(&mut text).unwrap();
        assert!(text == SCRIPT && smallest.len() < 100);
        let compressed = get("/assets/app.js", &[("accept-encoding", "br;q=0, gzip;q=0.5")]).unwrap();
        assert_eq!(compressed.headers()["content-encoding"], "gzip");
        assert!(
            compressed.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("connect-src 'self' ws: wss:")
        );
        let (mut text, compressed) = (Vec::new(), body(compressed).await);
        GzDecoder::new(&compressed[..]).read_to_end(&mut text).unwrap();
        assert!(text == SCRIPT && compressed.len() < 100);
    }

    #[tokio::test]
    async fn what_a_browser_has_is_not_sent_again() {
        let etag = get("/assets/app.js", &[]).unwrap().headers()["etag"].to_str().unwrap().to_owned();
        for (tags, status) in [
            (etag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{etag}"), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let response = get("/assets/app.js", &[("if-none-match", &tags)]).unwrap();
            assert_eq!(response.status(), status, "{tags}");
            assert_eq!(body(response).await.is_empty(), status == StatusCode::NOT_MODIFIED);
        }
        assert_ne!(etag, get("/", &[]).unwrap().headers()["etag"]);
    }

    #[test]
    fn what_is_no_file_is_nothing() {
        for path in ["/other", "/assets", "/assets/", "/../index.html", "", "index.html"] {
            assert!(get(path, &[]).is_none(), "{path}");
        }
    }
}
