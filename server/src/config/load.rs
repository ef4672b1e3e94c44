//! Merges the sources and says, for each value, where it came from and, for each mistake, what is meant.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::meant;
use super::{Config, SETTINGS, Setting};

/// Where a configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file's path and text.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables. `QUOTH_SECTION__NAME` sets `section.name`; one that begins with `QUOTH_` and a section, or
    /// is close to a setting, is a mistake; all others are ignored.
    pub env: Vec<(OsString, OsString)>,
    /// Flags: setting key and value.
    pub flags: Vec<(String, String)>,
}

/// Where one value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file.
    File(PathBuf, usize),
    /// An environment variable.
    Env(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A configuration and the origin of each value.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    origins: HashMap<&'static str, Origin>,
}

impl Loaded {
    /// Every setting with its value and origin, as a TOML file.
    #[must_use]
    pub fn report(&self) -> String {
        use fmt::Write as _;
        let mut out = String::new();
        let mut section = "";
        for setting in SETTINGS {
            let (of, name) = setting.key.split_once('.').unwrap_or(("", setting.key));
            if of != section {
                section = of;
                let newline = if out.is_empty() { "" } else { "\n" };
                let _infallible = writeln!(out, "{newline}[{section}]");
            }
            let origin = self.origins.get(setting.key).unwrap_or(&Origin::Default);
            let _infallible = writeln!(out, "{name} = {} # {origin}", setting.get(&self.config));
        }
        out
    }
}

/// Merges the sources: file, then environment, then flags.
///
/// # Errors
/// Every mistake found, one text each, with its place and the nearest known name.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<String>> {
    let config = Config { development: sources.file.is_none(), ..Config::default() };
    let mut loading = Loading { loaded: Loaded { config, origins: HashMap::new() }, mistakes: Vec::new() };
    if let Some((path, text)) = &sources.file {
        loading.file(path, text);
    }
    for (name, value) in &sources.env {
        loading.env(name, value);
    }
    for (key, value) in &sources.flags {
        match Setting::find(key) {
            Some(setting) => loading.set(setting, value, Origin::Flag, &format!("flag --set {key}={value}")),
            None => loading.mistakes.push(format!("flag --set {key}={value}: {}", unknown(key))),
        }
    }
    if loading.mistakes.is_empty() { Ok(loading.loaded) } else { Err(loading.mistakes) }
}

struct Loading {
    loaded: Loaded,
    mistakes: Vec<String>,
}

impl Loading {
    fn set(&mut self, setting: &'static Setting, value: &str, origin: Origin, place: &str) {
        match setting.set(&mut self.loaded.config, value) {
            Ok(()) => {
                self.loaded.origins.insert(setting.key, origin);
            }
            Err(expected) => self.mistakes.push(format!("{place}: {expected} for {}", setting.key)),
        }
    }

    fn env(&mut self, name: &OsStr, value: &OsStr) {
        let name = name.to_string_lossy().into_owned();
        let place = format!("environment variable {name}");
        match (SETTINGS.iter().find(|setting| setting.env_name() == name), value.to_str()) {
            (Some(setting), Some(value)) => self.set(setting, value, Origin::Env(name), &place),
            (Some(_), None) => self.mistakes.push(format!("{place}: its value is not UTF-8")),
            (None, _) => {
                if let Some(nearest) = meant(&name) {
                    self.mistakes.push(format!("{place}: no such setting; the nearest is {nearest}"));
                }
            }
        }
    }

    fn file(&mut self, path: &std::path::Path, text: &str) {
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let at = position(text, error.span().map_or(0, |span| span.start));
                return self.mistakes.push(format!("{}:{at}: {}", path.display(), error.message()));
            }
        };
        for (section, value) in root.get_ref() {
            let section_at = position(text, section.span().start);
            let place = format!("{}:{section_at}", path.display());
            let name = section.get_ref();
            if !SETTINGS.iter().any(|setting| setting.key.starts_with(&format!("{name}."))) {
                let sections = SETTINGS.iter().filter_map(|setting| setting.key.split('.').next());
                let nearest = nearest(name, sections);
                self.mistakes.push(format!("{place}: no section [{name}]; the nearest is [{nearest}]"));
                continue;
            }
            let Some(table) = value.get_ref().as_table() else {
                self.mistakes.push(format!("{place}: {name} is a section: write [{name}]"));
                continue;
            };
            for (key, value) in table {
                self.file_entry(path, text, name, key, value);
            }
        }
    }

    fn file_entry(
        &mut self,
        path: &std::path::Path,
        text: &str,
        section: &str,
        key: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let at = position(text, key.span().start);
        let place = format!("{}:{at}", path.display());
        let full = format!("{section}.{}", key.get_ref().as_ref());
        let Some(setting) = Setting::find(&full) else {
            return self.mistakes.push(format!("{place}: {}", unknown(&full)));
        };
        match as_text(value.get_ref()) {
            Some(value) => self.set(setting, &value, Origin::File(path.to_owned(), at.line), &place),
            None => self.mistakes.push(format!("{place}: a value of this kind has no place in {full}")),
        }
    }
}

fn as_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i128::from_str_radix(&digits, number.radix()).ok().map(|number| number.to_string())
        }
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn unknown(key: &str) -> String {
    let nearest = nearest(key, SETTINGS.iter().map(|setting| setting.key));
    format!("no setting {key}; the nearest is {nearest}")
}

/// The known name with the fewest edits from this one.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    names.min_by_key(|known| strsim::damerau_levenshtein(name, known)).unwrap_or_default()
}

/// A place in a text.
struct At {
    line: usize,
    column: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

fn position(text: &str, offset: usize) -> At {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    At { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Sources, load};

    fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        Sources {
            file: Some(("q.toml".into(), file.to_owned())),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            flags: flags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn later_sources_win_and_the_report_names_them() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\ndrain_retry_after_ms = 2_000\n[limits]\nconnections_max = 5\n";
        let env =
            [("QUOTH_SERVER__LISTEN", "127.0.0.1:2"), ("QUOTH_SERVER", "is the client's"), ("PATH", "x")];
        let loaded = load(&sources(file, &env, &[("limits.connections_max", "7")])).unwrap();
        assert_eq!(loaded.config.listen.port(), 2);
        assert_eq!(loaded.config.limits.connections_max, 7);
        assert_eq!(loaded.config.drain_retry_after_ms, 2_000);
        let report = loaded.report();
        assert!(
            report.contains("listen = \"127.0.0.1:2\" # environment variable QUOTH_SERVER__LISTEN"),
            "{report}"
        );
        assert!(report.contains("drain_retry_after_ms = 2000 # q.toml:3"), "{report}");
        assert!(report.contains("connections_max = 7 # flag"), "{report}");
        assert!(report.contains("idle_timeout_ms = 60000 # default"), "{report}");
    }

    #[test]
    fn the_report_is_a_configuration_file() {
        let loaded =
            load(&sources("[auth]\ntoken_keys = [\"a=EdDSA:x.pem\", \"HS256:y\"]\n", &[], &[])).unwrap();
        let again = load(&sources(&loaded.report(), &[], &[])).unwrap();
        assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config));
    }

    #[test]
    fn a_mistake_names_its_place_and_the_nearest_name() {
        let cases = [
            (
                "[limits]\n  conections_max = 5\n",
                "q.toml:2:3: no setting limits.conections_max; the nearest is limits.connections_max",
            ),
            ("[limts]\nconnections_max = 5\n", "q.toml:1:2: no section [limts]; the nearest is [limits]"),
            (
                "[server]\nlisten = \"here\"\n",
                "q.toml:2:1: expected an address with a port, as in 127.0.0.1:4433 for server.listen",
            ),
            ("[server]\nlisten = \n", "q.toml:2:10: "),
            (
                "[limits]\nconnections_max = 0\n",
                "q.toml:2:1: expected a whole number from 1 to 1000000 for limits.connections_max",
            ),
            ("server = 5\n", "q.toml:1:1: server is a section: write [server]"),
        ];
        for (file, expected) in cases {
            let mistakes = load(&sources(file, &[], &[])).unwrap_err();
            assert!(mistakes[0].starts_with(expected), "{mistakes:?}");
        }
        let mistakes =
            load(&sources("", &[("QUOTH_SERVER__LISTN", "x")], &[("log.filtr", "x")])).unwrap_err();
        assert!(mistakes[0].ends_with("the nearest is QUOTH_SERVER__LISTEN"), "{mistakes:?}");
        assert!(mistakes[1].ends_with("the nearest is log.filter"), "{mistakes:?}");
    }

    #[test]
    fn an_environment_that_is_not_utf8_is_no_panic() {
        use std::os::unix::ffi::OsStringExt as _;
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let env = |name: &[u8], value: &[u8]| Sources {
            env: vec![(bytes(name), bytes(value))],
            ..Sources::default()
        };
        load(&env(b"OTHER\xff", b"x")).unwrap();
        load(&env(b"OTHER", b"\xff")).unwrap();
        load(&env(b"QUOTH_TOKEN", b"\xff")).unwrap();
        let mistakes = load(&env(b"QUOTH_SERVER__DATA_DIR", b"/\xff")).unwrap_err();
        assert_eq!(mistakes, ["environment variable QUOTH_SERVER__DATA_DIR: its value is not UTF-8"]);
        let mistakes = load(&env(b"QUOTH_SERVER__DATA_DIR\xff", b"x")).unwrap_err();
        assert!(mistakes[0].ends_with("the nearest is QUOTH_SERVER__DATA_DIR"), "{mistakes:?}");
    }

    #[test]
    fn a_filter_that_would_not_start_the_log_is_a_mistake() {
        let mistakes = load(&sources("[log]\nfilter = \"a=b=c\"\n", &[], &[])).unwrap_err();
        assert!(mistakes[0].starts_with("q.toml:2:1: expected a filter"), "{mistakes:?}");
        load(&sources("[log]\nfilter = \"info,quoth_server=debug\"\n", &[], &[])).unwrap();
    }
}
