//! A CA and a leaf certificate for development, made on first use and kept in a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::{ServerName, UnixTime};

use crate::CertError;
use crate::acceptance::verify;
use crate::config::roots;
use crate::file::{Access, read, write_atomically};
use crate::store::load;

/// How long a leaf is valid after it was made, in seconds. With the hour that it is backdated it stays under
/// the 14 days up to which browsers accept a certificate by its hash.
pub const LEAF_VALID_S: u64 = 13 * DAY_S;

/// A leaf that is valid for less than this is made anew, in seconds.
pub const LEAF_RENEW_BEFORE_S: u64 = 3 * DAY_S;

/// How long a CA is valid after it was made, in seconds.
const CA_VALID_S: u64 = 5 * 365 * DAY_S;

/// A CA that is valid for less than this is made anew, in seconds: longer than any leaf that it signs.
const CA_RENEW_BEFORE_S: u64 = 30 * DAY_S;

/// Certificates are valid from so long before they were made, in seconds, for clients whose clock is slow.
const BACKDATED_S: u64 = 3600;

const DAY_S: u64 = 24 * 3600;

/// The names that every leaf has.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the files of a development certificate lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevCertificates {
    /// The CA certificate, for clients to trust.
    pub ca_pem_path: PathBuf,
    /// The server's certificate.
    pub leaf_pem_path: PathBuf,
    /// The server's private key.
    pub leaf_key_pem_path: PathBuf,
    /// When the server's certificate ends, in seconds since 1970. Once [`leaf_is_due`] says so, call
    /// [`development`] again and reload the store.
    pub leaf_not_after_unix_s: u64,
}

/// Whether a leaf that ends at `not_after_unix_s` is to be made anew: less than [`LEAF_RENEW_BEFORE_S`] is
/// left of it.
#[must_use]
pub fn leaf_is_due(not_after_unix_s: u64, now_unix_s: u64) -> bool {
    not_after_unix_s < now_unix_s.saturating_add(LEAF_RENEW_BEFORE_S)
}

/// Makes, or reuses, a CA (`ca.pem`, `ca-key.pem`) and a server's certificate (`leaf.pem`, `leaf-key.pem`) in
/// `dir`, with P-256 keys. The leaf names `localhost`, `127.0.0.1`, `::1` and `names`, which may be DNS names
/// or IP addresses; it is made anew when its names differ, when it is damaged and when less than
/// [`LEAF_RENEW_BEFORE_S`] is left of it. Keys are readable by their owner only.
///
/// # Errors
/// When a file cannot be read or written, a name cannot stand in a certificate, or the CA in the folder is
/// damaged: a leaf is replaced silently, a CA never is while it is valid, since clients may trust it.
pub fn development(dir: &Path, names: &[String], now_unix_s: u64) -> Result<DevCertificates, CertError> {
    fs::create_dir_all(dir).map_err(|source| CertError::Write { path: dir.to_owned(), source })?;
    let files = Files::new(dir);
    if !files.has_valid_ca(now_unix_s)? {
        files.make_ca(now_unix_s)?;
    }
    let names = all_names(names);
    let leaf_not_after_unix_s = match files.usable_leaf(&names, now_unix_s) {
        Some(not_after_unix_s) => not_after_unix_s,
        None => files.make_leaf(names, now_unix_s)?,
    };
    Ok(DevCertificates {
        ca_pem_path: files.ca,
        leaf_pem_path: files.leaf,
        leaf_key_pem_path: files.leaf_key,
        leaf_not_after_unix_s,
    })
}

/// Whether [`development`] would find a CA in `dir` that it cannot use. Changes nothing.
///
/// # Errors
/// What is wrong with the CA, and what to do.
pub fn check_development(dir: &Path, now_unix_s: u64) -> Result<(), CertError> {
    Files::new(dir).has_valid_ca(now_unix_s).map(|_| ())
}

struct Files {
    dir: PathBuf,
    ca: PathBuf,
    ca_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ca: dir.join("ca.pem"),
            ca_key: dir.join("ca-key.pem"),
            leaf: dir.join("leaf.pem"),
            leaf_key: dir.join("leaf-key.pem"),
        }
    }

    /// Whether there is a CA that is valid for a while yet. One that is there must be able to sign.
    fn has_valid_ca(&self, now_unix_s: u64) -> Result<bool, CertError> {
        if !self.ca.exists() {
            return Ok(false);
        }
        load(&self.ca, &self.ca_key).map_err(|error| self.broken_ca(error.to_string()))?;
        let label = Label::read(&self.ca);
        let label = label.ok_or_else(|| self.broken_ca("ca.pem was not made by Quoth".to_owned()))?;
        self.try_to_sign(now_unix_s)?;
        Ok(label.not_after_unix_s >= now_unix_s + CA_RENEW_BEFORE_S)
    }

    fn broken_ca(&self, reason: String) -> CertError {
        CertError::DevelopmentCa { dir: self.dir.clone(), reason }
    }

    /// Signs a leaf that nobody gets and verifies it, since a damaged CA certificate can be read, have the
    /// right key, and sign what no client accepts.
    fn try_to_sign(&self, now_unix_s: u64) -> Result<(), CertError> {
        let names = all_names(&[]);
        let (leaf, _key) = self.sign_leaf(&names, now_unix_s, now_unix_s + LEAF_VALID_S)?;
        let verified = roots(&self.ca)
            .map_err(|error| error.to_string())
            .and_then(|roots| verify(leaf.der(), roots, at(now_unix_s)).map_err(|error| error.to_string()));
        verified.map_err(|reason| {
            self.broken_ca(format!("ca.pem is damaged, what is signed with it does not verify ({reason})"))
        })
    }

    fn make_ca(&self, now_unix_s: u64) -> Result<(), CertError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let label = Label { names: Vec::new(), not_after_unix_s: now_unix_s + CA_VALID_S };
        let mut params = ca_params();
        set_validity(&mut params, now_unix_s, label.not_after_unix_s);
        let certificate = params.self_signed(&key)?;
        // The key first: a CA counts as made once its certificate is there.
        write_atomically(&self.ca_key, key.serialize_pem(), Access::Secret)?;
        write_atomically(&self.ca, label.above(&certificate.pem()), Access::Public)
    }

    /// When the leaf ends, if it can be used for a while yet.
    fn usable_leaf(&self, names: &[String], now_unix_s: u64) -> Option<u64> {
        let label = Label::read(&self.leaf)?;
        let fresh = label.names == names && !leaf_is_due(label.not_after_unix_s, now_unix_s);
        (fresh && self.leaf_verifies(now_unix_s)).then_some(label.not_after_unix_s)
    }

    fn leaf_verifies(&self, now_unix_s: u64) -> bool {
        let verify = || -> Result<(), CertError> {
            let leaf = load(&self.leaf, &self.leaf_key)?;
            Ok(verify(leaf.end_entity_cert()?, roots(&self.ca)?, at(now_unix_s))?)
        };
        verify().is_ok()
    }

    fn make_leaf(&self, names: Vec<String>, now_unix_s: u64) -> Result<u64, CertError> {
        let label = Label { names, not_after_unix_s: now_unix_s + LEAF_VALID_S };
        let (certificate, key) = self.sign_leaf(&label.names, now_unix_s, label.not_after_unix_s)?;
        write_atomically(&self.leaf_key, key.serialize_pem(), Access::Secret)?;
        write_atomically(&self.leaf, label.above(&certificate.pem()), Access::Public)?;
        Ok(label.not_after_unix_s)
    }

    fn sign_leaf(
        &self,
        names: &[String],
        now_unix_s: u64,
        not_after_unix_s: u64,
    ) -> Result<(Certificate, KeyPair), CertError> {
        let ca_key_pem = String::from_utf8_lossy(&read(&self.ca_key)?).into_owned();
        let ca_key = KeyPair::from_pem(&ca_key_pem)
            .map_err(|error| self.broken_ca(format!("ca-key.pem is no key: {error}")))?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = leaf_params(names)?;
        set_validity(&mut params, now_unix_s, not_after_unix_s);
        let certificate = params.signed_by(&key, &Issuer::new(ca_params(), ca_key))?;
        Ok((certificate, key))
    }
}

fn at(unix_s: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(unix_s))
}

/// What a certificate says, as text above its PEM section, where readers of PEM skip it. So nothing here
/// needs to parse X.509.
struct Label {
    names: Vec<String>,
    not_after_unix_s: u64,
}

impl Label {
    const NAMES: &'static str = "Names:";
    const NOT_AFTER: &'static str = "Not after, in seconds since 1970:";

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key));
        Some(Self {
            names: value(Self::NAMES)?.split_whitespace().map(str::to_owned).collect(),
            not_after_unix_s: value(Self::NOT_AFTER)?.trim().parse().ok()?,
        })
    }

    fn above(&self, pem: &str) -> String {
        let (names, not_after) = (self.names.join(" "), self.not_after_unix_s);
        format!(
            "Made by Quoth for development only.\n{} {names}\n{} {not_after}\n{pem}",
            Self::NAMES,
            Self::NOT_AFTER
        )
    }
}

/// The loopback names and the others, each once, in a fixed order.
fn all_names(extra: &[String]) -> Vec<String> {
    let mut extra: Vec<&str> = extra.iter().map(String::as_str).collect();
    extra.sort_unstable();
    let mut names: Vec<String> = LOOPBACK_NAMES.map(str::to_owned).to_vec();
    for name in extra {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("Quoth development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(names: &[String]) -> Result<CertificateParams, CertError> {
    for name in names {
        ServerName::try_from(name.as_str()).map_err(|_| CertError::Name { name: name.clone() })?;
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name("Quoth development server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn set_validity(params: &mut CertificateParams, now_unix_s: u64, not_after_unix_s: u64) {
    let at = |unix_s| date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s);
    params.not_before = at(now_unix_s.saturating_sub(BACKDATED_S));
    params.not_after = at(not_after_unix_s);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::{
        BACKDATED_S, CA_VALID_S, DAY_S, Files, LEAF_RENEW_BEFORE_S, LEAF_VALID_S, check_development,
        development, leaf_is_due,
    };
    use crate::CertError;

    const NOW_UNIX_S: u64 = 1_700_000_000;

    fn leaf(dir: &Path) -> String {
        fs::read_to_string(dir.join("leaf.pem")).unwrap()
    }

    fn ca(dir: &Path) -> String {
        fs::read_to_string(dir.join("ca.pem")).unwrap()
    }

    #[test]
    fn what_is_there_is_reused() {
        let dir = tempfile::tempdir().unwrap();
        let first = development(dir.path(), &[], NOW_UNIX_S).unwrap();
        let (leaf_before, ca_before) = (leaf(dir.path()), ca(dir.path()));
        let later = NOW_UNIX_S + LEAF_VALID_S - LEAF_RENEW_BEFORE_S;
        assert_eq!(development(dir.path(), &["localhost".to_owned()], later).unwrap(), first);
        assert_eq!((leaf(dir.path()), ca(dir.path())), (leaf_before, ca_before));
    }

    #[test]
    fn a_leaf_is_valid_for_at_most_14_days_and_made_anew_before_its_end() {
        const { assert!(LEAF_VALID_S + BACKDATED_S <= 14 * DAY_S) };
        let dir = tempfile::tempdir().unwrap();
        let first = development(dir.path(), &[], NOW_UNIX_S).unwrap();
        assert_eq!(first.leaf_not_after_unix_s, NOW_UNIX_S + LEAF_VALID_S);
        let files = Files::new(dir.path());
        assert!(files.leaf_verifies(NOW_UNIX_S - BACKDATED_S));
        assert!(!files.leaf_verifies(NOW_UNIX_S - BACKDATED_S - 1));
        assert!(files.leaf_verifies(NOW_UNIX_S + LEAF_VALID_S));
        assert!(!files.leaf_verifies(NOW_UNIX_S + LEAF_VALID_S + 1));
        let (leaf_before, ca_before) = (leaf(dir.path()), ca(dir.path()));
        let later = NOW_UNIX_S + LEAF_VALID_S - LEAF_RENEW_BEFORE_S + 1;
        let second = development(dir.path(), &[], later).unwrap();
        assert_eq!(second.leaf_not_after_unix_s, later + LEAF_VALID_S);
        assert_ne!(leaf(dir.path()), leaf_before);
        assert_eq!(ca(dir.path()), ca_before);
    }

    #[test]
    fn a_leaf_is_due_when_too_little_is_left_of_it() {
        let end = NOW_UNIX_S + LEAF_VALID_S;
        assert!(!leaf_is_due(end, NOW_UNIX_S));
        assert!(!leaf_is_due(end, end - LEAF_RENEW_BEFORE_S));
        for now in [end - LEAF_RENEW_BEFORE_S + 1, end, end + DAY_S, u64::MAX] {
            assert!(leaf_is_due(end, now), "{now}");
        }
    }

    #[test]
    fn a_leaf_of_other_names_or_that_is_damaged_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["chat.example".to_owned(), "192.0.2.7".to_owned()];
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        let mut before = leaf(dir.path());
        for names in [&names[..], &names[..1], &[]] {
            development(dir.path(), names, NOW_UNIX_S).unwrap();
            assert_ne!(leaf(dir.path()), before, "{names:?}");
            before = leaf(dir.path());
        }
        fs::copy(dir.path().join("ca-key.pem"), dir.path().join("leaf-key.pem")).unwrap();
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        assert_ne!(leaf(dir.path()), before);
    }

    #[test]
    fn a_ca_is_made_anew_at_its_end_and_the_leaf_with_it() {
        let dir = tempfile::tempdir().unwrap();
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        let (leaf_before, ca_before) = (leaf(dir.path()), ca(dir.path()));
        let later = NOW_UNIX_S + CA_VALID_S - DAY_S;
        development(dir.path(), &[], later).unwrap();
        assert_ne!(leaf(dir.path()), leaf_before);
        assert_ne!(ca(dir.path()), ca_before);
        assert!(Files::new(dir.path()).leaf_verifies(later));
    }

    #[test]
    fn a_damaged_ca_is_told_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        fs::copy(dir.path().join("leaf-key.pem"), dir.path().join("ca-key.pem")).unwrap();
        let before = ca(dir.path());
        let error = development(dir.path(), &[], NOW_UNIX_S).unwrap_err();
        assert!(matches!(error, CertError::DevelopmentCa { .. }), "{error}");
        assert!(error.to_string().contains("restore ca.pem and ca-key.pem, or remove both"), "{error}");
        assert_eq!(ca(dir.path()), before);
    }

    #[test]
    fn whatever_is_damaged_in_a_ca_no_leaf_is_made_that_clients_do_not_accept() {
        let dir = tempfile::tempdir().unwrap();
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        let sound = ca(dir.path());
        let (label, base64) = sound.split_at(sound.find("CATE-----\n").unwrap() + 10);
        let (base64, end) = base64.split_at(base64.find("-----").unwrap());
        for place in
            base64.match_indices(|c: char| c.is_ascii_alphanumeric()).map(|(place, _)| place).step_by(7)
        {
            let damaged = if base64[place..].starts_with('Q') { "R" } else { "Q" };
            let text = format!("{label}{}{damaged}{}{end}", &base64[..place], &base64[place + 1..]);
            fs::write(dir.path().join("ca.pem"), &text).unwrap();
            fs::remove_file(dir.path().join("leaf.pem")).ok();
            let checked = check_development(dir.path(), NOW_UNIX_S).map_err(|error| error.to_string());
            assert!(!dir.path().join("leaf.pem").exists(), "a check makes nothing");
            match development(dir.path(), &[], NOW_UNIX_S) {
                Ok(_) => assert!(Files::new(dir.path()).leaf_verifies(NOW_UNIX_S), "{text}"),
                Err(error) => {
                    assert!(matches!(error, CertError::DevelopmentCa { .. }), "{error}");
                    assert_eq!(checked, Err(error.to_string()));
                }
            }
            assert_eq!(ca(dir.path()), text, "a CA is not replaced");
        }
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        development(dir.path(), &[], NOW_UNIX_S).unwrap();
        let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("ca-key.pem"), 0o600);
        assert_eq!(mode("leaf-key.pem"), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["two words", "", "bad_\u{e9}.example"] {
            let error = development(dir.path(), &[name.to_owned()], NOW_UNIX_S).unwrap_err();
            assert!(matches!(error, CertError::Name { .. }), "{error}");
        }
    }
}
