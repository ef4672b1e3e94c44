//! What is refused before anything is opened, by `quoth-server run` and `quoth-server check` alike.

use crate::auth::Verifier;
use crate::config::Config;
use crate::data_folder;

/// Why the server could not start with this configuration: settings that do not fit together, a data folder that is not
/// ours or cannot be written, and keys and certificates that cannot be used. Empty when nothing is wrong. Opens no socket
/// and no store, so what these refuse is not seen here. Changes nothing.
#[must_use]
pub fn problems(config: &Config) -> Vec<String> {
    let mut problems = config.problems();
    problems.extend(data_folder::check(&config.data_dir).err());
    if let (Some(certificate), Some(key)) = (&config.certificate_file, &config.private_key_file)
        && !config.development
    {
        let opened = quoth_certs::CertStore::open(certificate, key);
        problems.extend(opened.err().map(|error| error.to_string()));
    }
    if !config.development {
        problems.extend(Verifier::load(&config.audience, &config.token_keys).err());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::problems;
    use crate::config::Config;

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
