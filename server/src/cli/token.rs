//! `quoth-server token`: signs a token.

use std::path::PathBuf;

use clap::Args;
use jsonwebtoken::Algorithm;
use quoth_protocol::limits::TOKEN_BYTES_MAX;
use quoth_protocol::{DeviceId, UserId};
use rand::RngExt as _;

use crate::auth::{Issue, Rights, algorithm, issue};
use crate::config::Config;
use crate::development::signing_key_file;
use crate::engine::{Clock as _, SystemClock};
use crate::secret::hex;

/// Ten years: a token that is to live longer is better replaced by a new key.
const LIFETIME_MAX_S: u64 = 3_650 * 24 * 3_600;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    /// Whom it is for
    #[arg(long)]
    user: String,
    /// Conversations that may be read; `*` stands for any characters; may be repeated. Default: `*` for a
    /// development server; with --key none, if there is a --write
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// Conversations that may be written to and administered, as far as the user may there; as --read
    #[arg(long, value_name = "PATTERN", conflicts_with = "no_write")]
    write: Vec<String>,
    /// Nothing may be written, whatever the user is a member of
    #[arg(long)]
    no_write: bool,
    /// Leave it to memberships: what is a group, a channel, a direct conversation or notes can be read,
    /// written and administered as the user may there, and nothing else
    #[arg(long, conflicts_with_all = ["read", "write", "no_write"])]
    by_membership: bool,
    /// Users in whose name may be published, for bridges and imports; may be repeated. Default: none
    #[arg(long, value_name = "PATTERN")]
    publish_as: Vec<String>,
    /// The only device that may sign in with it. Default: any
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// How long it lives: a number with s, m, h or d, as in 30m, 12h or 7d, up to 3650d. Servers take it for 30 s
    /// longer, since their clocks may be behind
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = lifetime_s)]
    expires_in: u64,
    /// Private key in PEM, or a file with the HS256 secret. Default: the development server's in the data
    /// folder
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key's algorithm: EdDSA, ES256, RS256 or HS256
    #[arg(long, default_value = "HS256", value_parser = algorithm)]
    algorithm: Algorithm,
}

/// The token, signed. Every error is a mistake of whoever asks for it.
pub(super) fn token(config: &Config, args: TokenArgs) -> Result<String, String> {
    let user = UserId::new(&args.user).map_err(|error| format!("--user {:?}: {error}", args.user))?;
    let rights = rights(&args)?;
    let key = match args.key {
        Some(key) => key,
        None => development_key(config, args.algorithm)?,
    };
    let device = args
        .device
        .as_ref()
        .map(|device| DeviceId::new(device).map_err(|error| format!("--device {device:?}: {error}")));
    let device = device.transpose()?;
    let issued_s = SystemClock.unix_ms() / 1_000;
    let what = Issue {
        audience: &config.audience,
        user: &user,
        device: device.as_ref(),
        rights,
        token_id: Some(hex(&rand::rng().random::<[u8; 16]>())),
        issued_s,
        expires_s: issued_s + args.expires_in,
    };
    let token = issue(&key, args.algorithm, what)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(format!(
            "the token would have {} bytes, and clients can send {TOKEN_BYTES_MAX}: give fewer or shorter patterns, where * \
             stands for any characters",
            token.len()
        ));
    }
    Ok(token)
}

/// A duration with its unit, in seconds.
fn lifetime_s(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let (number, unit) = (digits.parse::<u64>().ok(), &text[digits.len()..]);
    let unit_s = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(24 * 3_600),
        _ => None,
    };
    let lifetime_s = number.zip(unit_s).and_then(|(number, unit_s)| number.checked_mul(unit_s));
    lifetime_s.filter(|lifetime_s| (1..=LIFETIME_MAX_S).contains(lifetime_s)).ok_or_else(|| {
        "expected a whole number above 0 with its unit (s, m, h or d), as in 30m, 12h or 7d, up to 3650d"
            .to_owned()
    })
}

/// What a token is to allow. Everything by default on a development server only. A claim that is missing
/// narrows nothing where a membership allows something, so both are there unless that is asked for.
fn rights(args: &TokenArgs) -> Result<Rights, String> {
    let publish_as = args.publish_as.clone();
    if args.by_membership {
        return Ok(Rights { read: None, write: None, publish_as });
    }
    if args.key.is_some() && args.read.is_empty() && args.write.is_empty() {
        return Err(
            "with --key say what the token allows: --read PATTERN, --write PATTERN or both, '*' for \
             all conversations, or --by-membership for what the user's memberships allow"
                .to_owned(),
        );
    }
    if args.read.iter().chain(&args.write).any(String::is_empty) {
        return Err(
            "an empty pattern is for no conversation: leave it out; --no-write is for a token that writes \
                    nothing"
                .to_owned(),
        );
    }
    let or_all = |patterns: &[String], none: bool| match patterns {
        [] if args.key.is_none() && !none => Some(vec!["*".to_owned()]),
        given => Some(given.to_vec()),
    };
    Ok(Rights { read: or_all(&args.read, false), write: or_all(&args.write, args.no_write), publish_as })
}

fn development_key(config: &Config, algorithm: Algorithm) -> Result<PathBuf, String> {
    if !config.development {
        return Err("the configuration is not for development mode: give --key and --algorithm".to_owned());
    }
    if algorithm != Algorithm::HS256 {
        return Err(format!(
            "the development server's key is for HS256: give --key with a key for {algorithm:?}"
        ));
    }
    let key = signing_key_file(&config.data_dir);
    if !key.exists() {
        return Err(format!(
            "{} does not exist: start a development server once, or give --data-dir, or --key and --algorithm",
            key.display()
        ));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use clap::Parser;
    use jsonwebtoken::Algorithm;
    use serde_json::json;

    use super::{
        LIFETIME_MAX_S, Rights, TOKEN_BYTES_MAX, TokenArgs, development_key, lifetime_s, rights, token,
    };
    use crate::config::Config;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        token: TokenArgs,
    }

    fn token_rights(args: &[&str]) -> Result<Rights, String> {
        let line = Line::try_parse_from([&["token", "--user", "carol"], args].concat());
        rights(&line.map_err(|error| error.to_string())?.token)
    }

    #[test]
    fn a_lifetime_has_a_unit_and_is_neither_nothing_nor_endless() {
        for (text, expected_s) in [("1s", 1), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(lifetime_s(text), Ok(expected_s), "{text}");
        }
        assert_eq!(lifetime_s("3650d"), Ok(LIFETIME_MAX_S));
        for text in ["", "0h", "12", "h", "1.5h", "-1h", "+h", "1 h", "1w", "1hh", "3651d", "1\u{e9}"] {
            let error = lifetime_s(text).unwrap_err();
            assert!(error.contains("30m, 12h or 7d"), "{text}: {error}");
        }
        lifetime_s(&format!("{}d", u64::MAX)).unwrap_err();
    }

    #[test]
    fn a_token_of_a_key_that_was_given_allows_what_was_said_only() {
        let error = token_rights(&["--key", "k.pem"]).unwrap_err();
        assert!(error.contains("--read PATTERN"), "{error}");
        token_rights(&["--key", "k.pem", "--publish-as", "*"]).unwrap_err();
        let rights = token_rights(&["--key", "k.pem", "--read", "a*", "--read", "b"]).unwrap();
        let patterns = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!((rights.read, rights.write), (patterns(&["a*", "b"]), patterns(&[])));
        let rights = token_rights(&["--key", "k.pem", "--write", "a"]).unwrap();
        assert_eq!((rights.read, rights.write), (patterns(&[]), patterns(&["a"])));
        let rights = token_rights(&["--key", "k.pem", "--by-membership"]).unwrap();
        assert_eq!((rights.read, rights.write), (None, None));
        let rights = token_rights(&[]).unwrap();
        assert_eq!((rights.read, rights.write), (patterns(&["*"]), patterns(&["*"])));
        assert_eq!(rights.publish_as, Vec::<String>::new());
        let rights = token_rights(&["--no-write"]).unwrap();
        assert_eq!((rights.read, rights.write), (patterns(&["*"]), patterns(&[])));
        let empty = token_rights(&["--key", "k.pem", "--read", "a", "--write", ""]).unwrap_err();
        assert!(empty.contains("--no-write"), "{empty}");
        for both in
            [["--no-write", "--write=a"], ["--by-membership", "--read=a"], ["--by-membership", "--no-write"]]
        {
            token_rights(&both).unwrap_err();
        }
    }

    /// What is signed, and not only what was meant: the claims are what servers go by.
    #[test]
    fn a_token_that_only_reads_says_that_it_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("secret");
        std::fs::write(&key, "s".repeat(64)).unwrap();
        let claims = |rights: &[&str]| {
            let line = [&["token", "--user", "carol", "--key", key.to_str().unwrap()], rights].concat();
            let signed = token(&Config::default(), Line::try_parse_from(line).unwrap().token).unwrap();
            let payload = URL_SAFE_NO_PAD.decode(signed.split('.').nth(1).unwrap()).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            (claims.get("read").cloned(), claims.get("write").cloned())
        };
        assert_eq!(claims(&["--read", "news"]), (Some(json!(["news"])), Some(json!([]))));
        assert_eq!(claims(&["--write", "news"]), (Some(json!([])), Some(json!(["news"]))));
        assert_eq!(claims(&["--by-membership"]), (None, None));
    }

    #[test]
    fn a_token_that_no_client_can_send_is_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("secret");
        std::fs::write(&key, "s".repeat(64)).unwrap();
        let sign = |patterns: usize| {
            let mut line =
                ["token", "--user", "carol", "--key", key.to_str().unwrap()].map(str::to_owned).to_vec();
            line.extend((0..patterns).map(|n| format!("--read=team-{n:03}/general")));
            token(&Config::default(), Line::try_parse_from(line).unwrap().token)
        };
        assert!(sign(100).unwrap().len() <= TOKEN_BYTES_MAX);
        let error = sign(400).unwrap_err();
        assert!(error.contains("clients can send 7168"), "{error}");
    }

    #[test]
    fn a_token_that_no_server_accepts_is_not_signed() {
        for args in [&["--algorithm", "HS384"][..], &["--algorithm", "none"], &["--expires-in", "0h"]] {
            token_rights(args).unwrap_err();
        }
        token_rights(&["--algorithm", "ES256", "--expires-in", "3650d"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        std::fs::write(dir.path().join("keys/signing.key"), "s".repeat(64)).unwrap();
        let config = Config { data_dir: dir.path().to_owned(), development: true, ..Config::default() };
        development_key(&config, Algorithm::HS256).unwrap();
        development_key(&config, Algorithm::EdDSA).unwrap_err();
        development_key(&Config { development: false, ..config }, Algorithm::HS256).unwrap_err();
    }
}
