//! An issuer of tokens with a key set, as an identity provider has one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

/// A key that signs.
#[derive(Debug, Clone)]
pub struct Key {
    kid: String,
    algorithm: Algorithm,
    signing: EncodingKey,
    jwk: Value,
}

impl Key {
    /// A new one for EdDSA.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn ed25519(kid: &str) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::generate()?;
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x});
        let signing = EncodingKey::from_ed_der(pair.to_pkcs8()?.as_ref());
        Ok(Self { kid: kid.to_owned(), algorithm: Algorithm::EdDSA, signing, jwk })
    }

    /// A new one for RS256, of 2,048 bits.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn rsa(kid: &str) -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let der: Pkcs8V1Der<'_> = pair.as_der()?;
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            base64::prelude::BASE64_STANDARD.encode(der.as_ref())
        );
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&signing, Algorithm::RS256)?)?;
        jwk["kid"] = json!(kid);
        Ok(Self { kid: kid.to_owned(), algorithm: Algorithm::RS256, signing, jwk })
    }

    /// A token of a user who may do everything, for an hour.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn token(&self, user: &str) -> anyhow::Result<String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let claims = json!({
            "sub": user, "aud": "quoth", "iat": now_s, "exp": now_s + 3_600, "read": ["*"], "write": ["*"],
        });
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.signing)?)
    }
}

/// A server of a key set, on a thread of its own: those under test may be started on the caller's.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    url: String,
    keys: Arc<Mutex<Vec<Key>>>,
    asked: Arc<AtomicU32>,
    was_asked: Arc<Notify>,
    holds: watch::Sender<bool>,
}

impl Issuer {
    /// Serves no key yet.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}/keys.json");
        let (holds, held) = watch::channel(false);
        let issuer = Self {
            address,
            url,
            keys: Arc::default(),
            asked: Arc::default(),
            was_asked: Arc::default(),
            holds,
        };
        let (keys, asked, was_asked) =
            (Arc::clone(&issuer.keys), Arc::clone(&issuer.asked), Arc::clone(&issuer.was_asked));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener)?;
                loop {
                    let (mut tcp, _) = listener.accept().await?;
                    let mut request = [0; 4_096];
                    // Who has given up has asked for nothing.
                    if !tcp.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {
                        continue;
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                    was_asked.notify_one();
                    let mut held = held.clone();
                    if held.wait_for(|held| !held).await.is_err() {
                        return Ok::<_, std::io::Error>(());
                    }
                    let body = json!({"keys": keys.lock().iter().map(|key| &key.jwk).collect::<Vec<_>>()})
                        .to_string();
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    let _gone = tcp.write_all((head + &body).as_bytes()).await;
                }
            })
        });
        Ok(issuer)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the key set is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Publishes a new key for EdDSA.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn add_ed25519(&mut self, kid: &str) -> anyhow::Result<Key> {
        Ok(self.add(Key::ed25519(kid)?))
    }

    /// Publishes a new key for RS256.
    ///
    /// # Errors
    /// When there is no entropy.
    pub fn add_rsa(&mut self, kid: &str) -> anyhow::Result<Key> {
        Ok(self.add(Key::rsa(kid)?))
    }

    fn add(&mut self, key: Key) -> Key {
        self.keys.lock().push(key.clone());
        key
    }

    /// Withdraws a key.
    pub fn remove(&mut self, kid: &str) {
        self.keys.lock().retain(|key| key.kid != kid);
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked more often than this.
    pub async fn asked_more_than(&self, times: u32) {
        while self.asked() <= times {
            self.was_asked.notified().await;
        }
    }

    /// Answers nobody until it is released.
    pub fn hold(&self) {
        self.holds.send_replace(true);
    }

    /// Answers again, also those that wait.
    pub fn release(&self) {
        self.holds.send_replace(false);
    }
}
