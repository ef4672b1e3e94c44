//! Keys from a server in the test's process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use quoth_core::session::Identity;
use quoth_protocol::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::JwksConfig;
use crate::auth::{Demands, Verifier};
use crate::session::{Verification, Verify as _};

const NOW_MS: u64 = 1_700_000_000_000;

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

struct Pair {
    signing: EncodingKey,
    jwk: Value,
    kid: String,
}

impl Pair {
    fn new(kid: &str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
        Self {
            signing: EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref()),
            jwk,
            kid: kid.to_owned(),
        }
    }

    fn token(&self) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        let claims = json!({"aud": "quoth", "sub": "alice", "exp": NOW_MS / 1_000 + 600});
        jsonwebtoken::encode(&header, &claims, &self.signing).unwrap()
    }
}

fn set(pairs: &[&Pair]) -> String {
    json!({ "keys": pairs.iter().map(|pair| &pair.jwk).collect::<Vec<_>>() }).to_string()
}

/// A server that answers with what it is told, and counts who asks.
struct Issuer {
    url: String,
    asked: Arc<AtomicU32>,
    /// The last one stays.
    answers: Arc<Mutex<VecDeque<String>>>,
    /// Answers that may leave.
    may_answer: Arc<Semaphore>,
}

impl Issuer {
    async fn start(answers: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let (asked, answers) =
            (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(answers.into_iter().collect())));
        let may_answer = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let issuer = Self { url, asked, answers, may_answer };
        let (asked, answers, may_answer) =
            (Arc::clone(&issuer.asked), Arc::clone(&issuer.answers), Arc::clone(&issuer.may_answer));
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                let _read = tcp.read(&mut request).await;
                asked.fetch_add(1, Ordering::SeqCst);
                may_answer.acquire().await.unwrap().forget();
                let body: String = {
                    let mut answers: parking_lot::MutexGuard<'_, VecDeque<String>> = answers.lock();
                    let last = answers.len() == 1;
                    if last { answers[0].clone() } else { answers.pop_front().unwrap() }
                };
                let (status, body) =
                    body.strip_prefix("500").map_or(("200 OK", body.as_str()), |b| ("500 Oh", b));
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _gone = tcp.write_all((head + body).as_bytes()).await;
            }
        });
        issuer
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    fn verifier(&self, refresh_s: u64, refresh_min_s: u64, overlap_s: u64) -> Verifier {
        let config = JwksConfig {
            url: self.url.parse().unwrap(),
            ca_file: None,
            refresh: Duration::from_secs(refresh_s),
            refresh_min: Duration::from_secs(refresh_min_s),
            overlap: Duration::from_secs(overlap_s),
        };
        let demands = Demands { audience: "quoth".to_owned(), lifetime_max: None, names_freely: false };
        let verifier = Verifier::load(demands, &[], Some(config)).unwrap();
        verifier.start();
        verifier
    }
}

async fn verify(verifier: &Verifier, token: &str) -> Result<Identity, Code> {
    match verifier.verify(token, NOW_MS) {
        Verification::Ready(verified) => verified,
        Verification::Waits(verifying) => tokio::time::timeout(PATIENCE, verifying).await.expect("it ends"),
    }
}

/// Where keys are looked for once in 600 s at most, so much later that they may be again. An interval that is
/// waited for would have to be so short that a busy machine is through with it before a test is.
async fn later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(601)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_first_sign_in_waits_for_the_keys() {
    let a = Pair::new("a");
    let issuer = Issuer::start([set(&[&a])]).await;
    let verifier = issuer.verifier(300, 30, 300);
    assert!(verify(&verifier, &a.token()).await.is_ok());
    assert!(
        matches!(verifier.verify(&a.token(), NOW_MS), Verification::Ready(Ok(_))),
        "the next one does not"
    );
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn five_thousand_tokens_of_an_unknown_key_are_one_look() {
    let (a, b, unknown) = (Pair::new("a"), Pair::new("b"), Pair::new("unknown"));
    let issuer = Issuer::start([set(&[&a]), set(&[&a, &b])]).await;
    // Of the interval whose end the first of them finds.
    let verifier = issuer.verifier(3_600, 600, 0);
    verify(&verifier, &a.token()).await.unwrap();
    // Longer than five thousand verifications may take.
    later().await;
    issuer.may_answer.forget_permits(usize::MAX);
    let wanted = verifier.verify(&unknown.token(), NOW_MS);
    assert!(matches!(wanted, Verification::Waits(_)));
    let waiting: Vec<_> = (0..5_000)
        .map(|n| {
            let token = if n % 2 == 0 { b.token() } else { unknown.token() };
            let verifier = verifier.clone();
            tokio::spawn(async move { verify(&verifier, &token).await })
        })
        .collect();
    while issuer.asked() < 2 {
        tokio::task::yield_now().await;
    }
    issuer.may_answer.add_permits(1_000);
    for (n, waits) in waiting.into_iter().enumerate() {
        let verified = waits.await.unwrap();
        assert_eq!(verified.is_ok(), n % 2 == 0, "{verified:?}");
    }
    assert_eq!(issuer.asked(), 2, "one look for all of them");
    // Nor is there another one before the least interval is over.
    assert_eq!(verify(&verifier, &unknown.token()).await, Err(Code::TOKEN_REJECTED));
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn a_key_that_was_published_since_the_last_look_is_found_by_the_next_one() {
    let (a, b) = (Pair::new("a"), Pair::new("b"));
    let issuer = Issuer::start([set(&[&a]), set(&[&a, &b])]).await;
    let verifier = issuer.verifier(3_600, 600, 0);
    verify(&verifier, &a.token()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(verify(&verifier, &b.token()).await, Err(Code::UNAVAILABLE), "nobody has looked for it");
    }
    assert_eq!(issuer.asked(), 1);
    later().await;
    assert!(verify(&verifier, &b.token()).await.is_ok());
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn who_is_asked_to_come_back_is_answered_by_whosever_look_came_between() {
    let (a, gone, other) = (Pair::new("a"), Pair::new("gone"), Pair::new("other"));
    let issuer = Issuer::start([set(&[&a])]).await;
    let verifier = issuer.verifier(3_600, 600, 0);
    verify(&verifier, &a.token()).await.unwrap();
    assert_eq!(verify(&verifier, &gone.token()).await, Err(Code::UNAVAILABLE));
    later().await;
    assert_eq!(verify(&verifier, &other.token()).await, Err(Code::TOKEN_REJECTED), "it has waited");
    assert_eq!(verify(&verifier, &gone.token()).await, Err(Code::TOKEN_REJECTED), "this look was for it too");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn junk_ids_are_remembered_within_bounds() {
    let jwks = super::Jwks::new(JwksConfig {
        url: "http://127.0.0.1:1/keys".parse().unwrap(),
        ca_file: None,
        refresh: Duration::from_secs(300),
        refresh_min: Duration::from_secs(300),
        overlap: Duration::ZERO,
    })
    .unwrap();
    for n in 0..2 * super::SOUGHT_MAX {
        drop(jwks.ask(&n.to_string()));
    }
    assert_eq!(jwks.0.looks.lock().sought.len(), super::SOUGHT_MAX);
}

#[tokio::test]
async fn who_would_be_one_waiter_too_many_is_told_to_come_back() {
    let a = Pair::new("a");
    let issuer = Issuer::start([set(&[&a])]).await;
    issuer.may_answer.forget_permits(usize::MAX);
    let verifier = issuer.verifier(300, 30, 300);
    let token = a.token();
    let mut waiting = Vec::new();
    for _ in 0..super::WAITERS_MAX {
        let Verification::Waits(waits) = verifier.verify(&token, NOW_MS) else { panic!("there is a place") };
        waiting.push(waits);
    }
    assert_eq!(verify(&verifier, &token).await, Err(Code::UNAVAILABLE));
    drop(waiting.pop());
    assert!(matches!(verifier.verify(&token, NOW_MS), Verification::Waits(_)), "a place is free again");
    issuer.may_answer.add_permits(1_000);
    for waits in waiting {
        assert!(waits.await.is_ok());
    }
}

#[tokio::test]
async fn a_set_that_cannot_be_read_keeps_the_keys_of_before() {
    let (a, b) = (Pair::new("a"), Pair::new("b"));
    let large = set(&[&a, &b]) + &" ".repeat(super::LIMITS.body_bytes_max);
    for broken in ["500oh", "<html>", r#"{"keys":[]}"#, &large] {
        let issuer = Issuer::start([set(&[&a]), broken.to_owned(), set(&[&a, &b])]).await;
        let verifier = issuer.verifier(3_600, 600, 0);
        verify(&verifier, &a.token()).await.unwrap();
        later().await;
        assert_eq!(verify(&verifier, &b.token()).await, Err(Code::UNAVAILABLE), "{:.20}", broken);
        assert!(verify(&verifier, &a.token()).await.is_ok());
        assert_eq!(
            verify(&verifier, &b.token()).await,
            Err(Code::UNAVAILABLE),
            "not before the interval is over"
        );
        assert_eq!(issuer.asked(), 2);
        // It is read again without being asked for.
        later().await;
        let reads_again = async {
            while issuer.asked() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reads_again).await.expect("it is read again");
        assert!(verify(&verifier, &b.token()).await.is_ok());
    }
}

#[tokio::test]
async fn a_withdrawn_key_ends_after_the_overlap() {
    let (a, b) = (Pair::new("a"), Pair::new("b"));
    let issuer = Issuer::start([set(&[&a]), set(&[&b])]).await;
    let with_overlap = issuer.verifier(1, 1, 3_600);
    verify(&with_overlap, &a.token()).await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while verify(&with_overlap, &b.token()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(verify(&with_overlap, &a.token()).await.is_ok(), "signed a moment ago");
    let issuer = Issuer::start([set(&[&a]), set(&[&b])]).await;
    let without = issuer.verifier(1, 1, 0);
    verify(&without, &a.token()).await.unwrap();
    tokio::time::timeout(PATIENCE, async {
        while verify(&without, &a.token()).await.map(drop) != Err(Code::TOKEN_REJECTED) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn keys_that_nobody_has_any_more_are_looked_for_no_longer() {
    let a = Pair::new("a");
    let issuer = Issuer::start([set(&[&a])]).await;
    let [refresh, refresh_min] = [3_600, 600].map(Duration::from_secs);
    let config = JwksConfig {
        url: issuer.url.parse().unwrap(),
        ca_file: None,
        refresh,
        refresh_min,
        overlap: Duration::ZERO,
    };
    let jwks = super::Jwks::new(config).unwrap();
    jwks.start();
    let keys = Arc::downgrade(&jwks.0);
    let gone = async {
        while !jwks.has_keys() {
            tokio::task::yield_now().await;
        }
        drop(jwks);
        while keys.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("they go");
}

#[tokio::test]
async fn a_file_does_as_well() {
    let a = Pair::new("a");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys.json");
    std::fs::write(&file, set(&[&a])).unwrap();
    let mut issuer = Issuer::start([String::new()]).await;
    issuer.url = format!("file://{}", file.display());
    assert!(verify(&issuer.verifier(300, 30, 300), &a.token()).await.is_ok());
    std::fs::write(&file, set(&[&a]) + &" ".repeat(super::LIMITS.body_bytes_max)).unwrap();
    assert_eq!(verify(&issuer.verifier(300, 30, 300), &a.token()).await, Err(Code::UNAVAILABLE));
    assert_eq!(issuer.asked(), 0);
}
