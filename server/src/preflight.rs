//! What is refused before anything is opened, by `quoth-server run` and `quoth-server check` alike.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use jsonwebtoken::Algorithm;
use quoth_certs::{CertError, CertStore};

use crate::api::Keys;
use crate::config::Config;
use crate::engine::{Clock as _, SystemClock};
use crate::hooks::Backend;
use crate::tickets::TicketKeys;
use crate::{data_folder, development, secret};

/// Why the server could not start with this configuration: settings that do not fit together, a data folder
/// that is not ours or cannot be written, and keys and certificates that cannot be used. Empty when nothing
/// is wrong. Opens no socket and no store, so what these refuse is not seen here. Changes nothing.
#[must_use]
pub fn problems(config: &Config) -> Vec<String> {
    let mut problems = config.problems();
    problems.extend(data_folder::check(&config.data_dir).err());
    if config.development {
        problems.extend(development::problems(config, now_s()));
    } else {
        let opened = configured_certificate(config);
        problems.extend(opened.and_then(Result::err).map(|error| error.to_string()));
        problems.extend(config.verifier(&config.token_keys).err());
    }
    problems.extend(Keys::load(&config.api.keys).err());
    problems.extend(Backend::problems(config));
    problems.extend(secret::kept_endpoint_secret(&config.data_dir).err());
    problems.extend(TicketKeys::check(&config.data_dir).err());
    problems
}

/// What the server starts with but an operator should mend: a certificate that no client accepts at present,
/// and secrets that others on this machine can read.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let certificate = configured_certificate(config).and_then(Result::ok);
    let out_of_date = certificate.and_then(|certificate| certificate.out_of_date(now_s()));
    out_of_date.into_iter().chain(secrets(config).into_iter().filter_map(read_by_all)).collect()
}

/// Files that nobody else is to read. A development server makes its own ones.
fn secrets(config: &Config) -> Vec<&Path> {
    let token_keys = config.token_keys.iter().filter(|key| key.algorithm == Algorithm::HS256);
    let of_tokens = token_keys.map(|key| key.file.as_path());
    let of_api = config.api.keys.iter().map(|key| key.file.as_path());
    let single = [config.private_key_file.as_deref(), config.hooks.secret_file.as_deref()];
    single.into_iter().flatten().chain(of_tokens).chain(of_api).collect()
}

/// What is to be done about a file that every user of this machine may read. A group is the operator's
/// choice.
fn read_by_all(file: &Path) -> Option<String> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let told = || {
        format!(
            "{0} is secret, and everybody on this machine can read it (mode {mode:04o}): chmod o= {0}",
            file.display()
        )
    };
    (mode & 0o004 != 0).then(told)
}

/// The certificate of a server in production, when it is given.
fn configured_certificate(config: &Config) -> Option<Result<CertStore, CertError>> {
    let files = config.certificate_file.as_ref().zip(config.private_key_file.as_ref());
    files.filter(|_| !config.development).map(|(certificate, key)| CertStore::open(certificate, key))
}

fn now_s() -> u64 {
    SystemClock.unix_ms() / 1_000
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{problems, warnings};
    use crate::config::Config;

    #[test]
    fn an_expired_certificate_is_a_warning_and_a_cas_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        let made = quoth_certs::development(dir.path(), &[], 1_000_000_000).unwrap();
        let expired = Config {
            data_dir: dir.path().join("data"),
            certificate_file: Some(made.leaf_pem_path),
            private_key_file: Some(made.leaf_key_pem_path),
            ..Config::default()
        };
        let is_about = |told: &[String], file: &str| told.iter().any(|text| text.contains(file));
        assert!(!is_about(&problems(&expired), "leaf.pem"));
        assert!(is_about(&warnings(&expired), "leaf.pem") && warnings(&expired)[0].contains("expired"));
        let ca = Config {
            certificate_file: Some(made.ca_pem_path),
            private_key_file: Some(dir.path().join("ca-key.pem")),
            ..expired
        };
        assert!(is_about(&problems(&ca), "ca.pem"), "{:?}", problems(&ca));
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let file = dir.path().join(name);
            std::fs::write(&file, "x").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let mut config = Config {
            private_key_file: Some(file("tls.key", 0o644)),
            token_keys: ["HS256:hmac", "HS256:kept", "EdDSA:public.pem"]
                .map(|key| key.parse().unwrap())
                .into(),
            ..Config::default()
        };
        for (key, (name, mode)) in
            config.token_keys.iter_mut().zip([("hmac", 0o604), ("kept", 0o640), ("public.pem", 0o644)])
        {
            key.file = file(name, mode);
        }
        config.api.keys = vec!["ops=admin:ops.key".parse().unwrap()];
        config.api.keys[0].file = file("ops.key", 0o664);
        config.hooks.secret_file = Some(file("hooks.key", 0o600));
        let told = warnings(&config);
        assert_eq!(told.len(), 3, "{told:?}");
        for (warning, name) in told.iter().zip(["tls.key", "hmac", "ops.key"]) {
            assert!(warning.contains(name) && warning.contains("chmod o= "), "{warning}");
        }
    }

    #[test]
    fn everything_that_a_start_would_stumble_over_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("PG_VERSION"), "17").unwrap();
        let missing = |name: &str| dir.path().join(name);
        let config = Config {
            data_dir: dir.path().to_owned(),
            certificate_file: Some(missing("chain.pem")),
            private_key_file: Some(missing("key.pem")),
            token_keys: vec![format!("EdDSA:{}", missing("public.pem").display()).parse().unwrap()],
            ..Config::default()
        };
        let told = problems(&config);
        assert_eq!(told.len(), 3, "{told:?}");
        for (problem, name) in told.iter().zip(["PG_VERSION", "chain.pem", "public.pem"]) {
            assert!(problem.contains(name), "{problem}");
        }
        let development = Config { development: true, data_dir: missing("new"), ..Config::default() };
        assert_eq!(problems(&development), Vec::<String>::new());
    }
}
