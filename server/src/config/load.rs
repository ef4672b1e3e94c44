//! Merges the sources and says, for each value, where it came from and, for each mistake, what is meant.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, Kind, RESERVE_BYTES, SETTINGS, Setting};
use super::{classes, environment};
use crate::api::ApiKeySpec;
use crate::auth::KeySpec;
use crate::session::Limits;

/// Where a configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file's path and text.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables. `QUOTH_SECTION__NAME` sets `section.name`; one that begins with `QUOTH_` and a
    /// section, or is close to a setting, is a mistake; all others are ignored.
    pub env: Vec<(OsString, OsString)>,
    /// Flags.
    pub flags: Vec<Flag>,
}

/// A flag that sets something.
#[derive(Debug, Clone)]
pub struct Flag {
    name: &'static str,
    key: String,
    value: String,
}

impl Flag {
    /// The flag with this name (`--set`, or one for a single setting) that gives `value` to the setting
    /// `key`.
    #[must_use]
    pub fn new(name: &'static str, key: &str, value: &str) -> Self {
        Self { name, key: key.to_owned(), value: value.to_owned() }
    }

    /// As it was typed.
    fn typed(&self) -> String {
        let Self { name, key, value } = self;
        match *name {
            "--set" => format!("--set {key}={value}"),
            // One that is there or not.
            "--demo" => "--demo".to_owned(),
            name => format!("{name} {value}"),
        }
    }
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
    /// A flag of this name.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
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
    /// Every setting with its value and origin, as a TOML file. Its paths are absolute, so it says where they
    /// lead, wherever it is kept.
    #[must_use]
    pub fn report(&self) -> String {
        self.lines(|_| true)
    }

    /// The same of the settings that somebody has set, and how many there are beside them.
    #[must_use]
    pub fn report_of_what_is_set(&self) -> String {
        let is_set = |origin: &Origin| !matches!(origin, Origin::Default);
        let set = self.origins.values().filter(|origin| is_set(origin)).count();
        let (mut out, left) = (self.lines(is_set), SETTINGS.len() - set);
        if left > 0 {
            let newline = if out.is_empty() { "" } else { "\n" };
            out += &format!(
                "{newline}# {left} settings have their defaults: `quoth-server config --effective` prints them all\n"
            );
        }
        out
    }

    fn lines(&self, is_told: impl Fn(&Origin) -> bool) -> String {
        use fmt::Write as _;
        let config = self.config.clone().with_absolute_paths();
        let mut out = String::new();
        let mut section = "";
        for setting in SETTINGS {
            let (of, name) = setting.section_and_name();
            let origin = self.origins.get(setting.key).unwrap_or(&Origin::Default);
            if !is_told(origin) {
                continue;
            }
            if of != section {
                section = of;
                let newline = if out.is_empty() { "" } else { "\n" };
                let _infallible = writeln!(out, "{newline}[{section}]");
            }
            let _infallible = writeln!(out, "{name} = {} # {origin}", setting.get(&config));
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
    let mut given: HashMap<&str, &Flag> = HashMap::new();
    for flag in &sources.flags {
        let before = given.insert(&flag.key, flag);
        match Setting::find(&flag.key) {
            Some(setting) if let Some(before) = before => {
                loading.mistakes.push(given_twice(setting, before, flag));
            }
            Some(setting) => loading.set(setting, &flag.value, Origin::Flag(flag.name), &flag.typed()),
            None => loading.mistakes.push(format!("{}: {}", flag.typed(), unknown(&flag.key))),
        }
    }
    if !loading.loaded.config.development {
        loading.deployed();
    }
    if loading.mistakes.is_empty() { Ok(loading.loaded) } else { Err(loading.mistakes) }
}

/// What is wrong where the later of two flags would silently replace the other one.
fn given_twice(setting: &Setting, before: &Flag, flag: &Flag) -> String {
    let meant = match setting.is_list() {
        true => "give it once, with commas between what it is to have: --set KEY=ONE,OTHER",
        false => "give it once",
    };
    format!("{} and {} both set {}: {meant}", before.typed(), flag.typed(), setting.key)
}

struct Loading {
    loaded: Loaded,
    mistakes: Vec<String>,
}

impl Loading {
    /// Gives what nobody has set the values that they have outside of development.
    fn deployed(&mut self) {
        let Loaded { config, origins } = &mut self.loaded;
        let limits = Limits::default().deployed();
        let deployed = Config { limits, reserve_bytes: RESERVE_BYTES, ..Config::default() };
        for setting in SETTINGS.iter().filter(|setting| setting.range().is_some()) {
            let depends = setting.section_and_name().0 == "limits" || setting.key == "store.reserve_bytes";
            if depends && !origins.contains_key(setting.key) {
                self.mistakes.extend(setting.set(config, &setting.get(&deployed)).err());
            }
        }
    }

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
                if let Some(mistake) = environment::mistake(&name) {
                    self.mistakes.push(format!("{place}: {mistake}"));
                }
            }
        }
    }

    fn file(&mut self, path: &Path, text: &str) {
        let place = |at: At| format!("{}:{at}", path.display());
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let at = position(text, error.span().map_or(0, |span| span.start));
                return self.mistakes.push(format!("{}: {}", place(at), error.message()));
            }
        };
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut entries = entries(root.get_ref(), folder);
        entries.sort_by_key(|entry| entry.offset);
        for Entry { offset, found } in entries {
            let at = position(text, offset);
            match found {
                Ok((setting, value)) => {
                    let origin = Origin::File(path.to_owned(), at.line);
                    self.set(setting, &value, origin, &place(at));
                }
                Err(mistake) => self.mistakes.push(format!("{}: {mistake}", place(at))),
            }
        }
    }
}

/// What a file says in one place: a setting and its value, or what is wrong.
struct Entry {
    offset: usize,
    found: Result<(&'static Setting, String), String>,
}

/// What a file in `folder` says.
fn entries(root: &DeTable<'_>, folder: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (name, value) in root {
        let offset = name.span().start;
        match value.get_ref().as_table().filter(|_| is_section(name.get_ref())) {
            Some(section) => entries.extend(section.iter().map(|(key, value)| Entry {
                offset: key.span().start,
                found: entry(&format!("{}.{}", name.get_ref(), key.get_ref()), value.get_ref(), folder),
            })),
            None => {
                let is_table = value.get_ref().is_table();
                entries.push(Entry { offset, found: Err(no_section(name.get_ref(), is_table)) });
            }
        }
    }
    entries
}

fn entry(key: &str, value: &DeValue<'_>, folder: &Path) -> Result<(&'static Setting, String), String> {
    let setting = Setting::find(key).ok_or_else(|| unknown(key))?;
    if let (Kind::Classes, DeValue::Array(items)) = (&setting.kind, value) {
        let classes = classes::texts(items).map_err(|mistake| format!("{mistake} for {key}"))?;
        return Ok((setting, classes));
    }
    let value = as_text(&setting.kind, value, folder)
        .ok_or_else(|| format!("expected {} for {key}", setting.kind.expected()))?;
    Ok((setting, value))
}

/// A value as it would stand in the environment, if it is of the setting's kind. Relative paths are relative
/// to `folder`.
fn as_text(kind: &Kind, value: &DeValue<'_>, folder: &Path) -> Option<String> {
    match (kind, value) {
        (Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        (Kind::Path, DeValue::String(text)) if text.is_empty() => Some(String::new()),
        (Kind::Path, DeValue::String(text)) => Some(folder.join(text.as_ref()).display().to_string()),
        (Kind::Number(_), DeValue::Integer(number)) => {
            let digits = number.as_str().replace('_', "");
            i128::from_str_radix(&digits, number.radix()).ok().map(|number| number.to_string())
        }
        (Kind::Boolean, DeValue::Boolean(value)) => Some(value.to_string()),
        (Kind::Origins | Kind::Networks | Kind::Texts(_), DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str());
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        (Kind::ApiKeys, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(|text| api_key_in(folder, text)));
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        (Kind::Keys, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(|text| key_in(folder, text)));
            texts.collect::<Option<Vec<_>>>().map(|texts| texts.join(","))
        }
        _ => None,
    }
}

/// A key whose path is relative to `folder`. A mistake is left as it is, to be told when it is set.
fn key_in(folder: &Path, text: &str) -> String {
    text.parse().map_or_else(
        |_| text.to_owned(),
        |key: KeySpec| KeySpec { file: folder.join(&key.file), ..key }.to_string(),
    )
}

/// The same of a key of the server API.
fn api_key_in(folder: &Path, text: &str) -> String {
    text.parse().map_or_else(
        |_| text.to_owned(),
        |key: ApiKeySpec| ApiKeySpec { file: folder.join(&key.file), ..key }.to_string(),
    )
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section_and_name().0 == name)
}

/// What is wrong with a name at the top of a file that is no section with settings.
fn no_section(name: &str, is_table: bool) -> String {
    if is_section(name) {
        return format!("{name} is a section: write [{name}]");
    }
    if is_table {
        let near = near(name, SETTINGS.iter().map(|setting| setting.section_and_name().0));
        let advice = near.map_or_else(|| LISTED.to_owned(), |near| format!("the nearest is [{near}]"));
        return format!("no section [{name}]; {advice}");
    }
    let near = near(name, SETTINGS.iter().map(|setting| setting.section_and_name().1));
    let setting = SETTINGS.iter().map(Setting::section_and_name).find(|(_, known)| Some(*known) == near);
    let advice = setting.map_or_else(
        || LISTED.to_owned(),
        |(section, near)| format!("the nearest is {near} in section [{section}]"),
    );
    format!("no setting {name} outside of a section; {advice}")
}

fn unknown(key: &str) -> String {
    let section = key.split_once('.').map_or("", |(section, _)| section);
    let advice = match near(key, SETTINGS.iter().map(|setting| setting.key)) {
        Some(near) => format!("the nearest is {near}"),
        None if is_section(section) => {
            let names = SETTINGS.iter().map(Setting::section_and_name).filter(|(of, _)| *of == section);
            format!("[{section}] has {}", names.map(|(_, name)| name).collect::<Vec<_>>().join(", "))
        }
        None => LISTED.to_owned(),
    };
    format!("no setting {key}; {advice}")
}

/// What is said of a name that is near to no known one.
pub(super) const LISTED: &str = "`quoth-server config` lists all settings";

/// The known name with the fewest edits from this one, which are at most a third of its characters: from
/// further away it would be a guess.
pub(super) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let edits = |known: &str| strsim::damerau_levenshtein(name, known);
    names.min_by_key(|known| edits(known)).filter(|known| 3 * edits(known) <= name.chars().count())
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

    use super::{Flag, Sources, load};

    fn sources(file: &str, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        Sources {
            file: Some(("q.toml".into(), file.to_owned())),
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            flags: flags.iter().map(|(key, value)| Flag::new("--set", key, value)).collect(),
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
        assert!(report.contains("connections_max = 7 # flag --set"), "{report}");
        assert!(report.contains("idle_timeout_ms = 60000 # default"), "{report}");
        let left = crate::config::SETTINGS.len() - 3;
        assert_eq!(
            loaded.report_of_what_is_set(),
            format!(
                "[server]\nlisten = \"127.0.0.1:2\" # environment variable QUOTH_SERVER__LISTEN\n\
                 drain_retry_after_ms = 2000 # q.toml:3\n\n[limits]\nconnections_max = 7 # flag --set\n\n\
                 # {left} settings have their defaults: `quoth-server config --effective` prints them all\n"
            )
        );
    }

    #[test]
    fn limits_are_off_in_development_unless_they_are_set() {
        let loaded = |file: &str, flags: &[(&str, &str)]| {
            let limits = load(&sources(file, &[], flags)).unwrap().config.limits;
            [limits.user_publishes_per_second_max, limits.connections_per_user_max]
        };
        assert_eq!(loaded("", &[]), [100, 100]);
        assert_eq!(loaded("[server]\ndevelopment = true\n", &[]), [0, 0]);
        assert_eq!(loaded("", &[("server.development", "true")]), [0, 0]);
        let set = "[limits]\nuser_publishes_per_second_max = 0\nconnections_per_user_max = 7\n";
        assert_eq!(loaded(set, &[]), [0, 7]);
        assert_eq!(loaded(set, &[("server.development", "true")]), [0, 7]);
        let report = load(&sources("", &[], &[])).unwrap().report();
        assert!(report.contains("user_publishes_per_second_max = 100 # default"), "{report}");
    }

    #[test]
    fn the_report_is_a_configuration_file() {
        let loaded =
            load(&sources("[auth]\ntoken_keys = [\"a=EdDSA:x.pem\", \"HS256:y\"]\n", &[], &[])).unwrap();
        let again = load(&sources(&loaded.report(), &[], &[])).unwrap();
        assert_eq!(format!("{:?}", again.config), format!("{:?}", loaded.config.with_absolute_paths()));
    }

    #[test]
    fn the_report_says_where_relative_paths_lead() {
        let file = "[server]\ndata_dir = \"rel\"\n[auth]\ntoken_keys = [\"HS256:key\"]\n";
        let report = load(&sources(file, &[], &[])).unwrap().report();
        let here = std::env::current_dir().unwrap();
        assert!(report.contains(&format!("data_dir = {:?} # q.toml:2", here.join("rel"))), "{report}");
        assert!(report.contains(&format!("[\"HS256:{}\"]", here.join("key").display())), "{report}");
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
            ("[log]\nfoo = 1\n", "q.toml:2:1: no setting log.foo; [log] has filter, format"),
            ("[zoo]\nfoo = 1\n", "q.toml:1:2: no section [zoo]; `quoth-server config` lists all settings"),
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
    fn mistakes_of_a_file_are_told_in_its_order() {
        let file = "zeal = 1\nserver.listen = \"127.0.0.1\"\nlisten = \"127.0.0.1:1\"\n[limits]\nconnections_max = \"5\"\n\
                    [auth]\naudience = 7\ntoken_keys = \"HS256:y\"\n[log]\nformat = \"xml\"\n";
        let mistakes = load(&sources(file, &[], &[])).unwrap_err();
        let expected = [
            "q.toml:1:1: no setting zeal outside of a section; `quoth-server config` lists all settings",
            "q.toml:2:8: expected a port as well, as in 127.0.0.1:4433 for server.listen",
            "q.toml:3:1: no setting listen outside of a section; the nearest is listen in section [server]",
            "q.toml:5:1: expected a whole number from 1 to 1000000 without quotes for limits.connections_max",
            "q.toml:7:1: expected a text in quotes for auth.audience",
            "q.toml:8:1: expected an array of texts, as in [\"EdDSA:FILE\"] for auth.token_keys",
            "q.toml:10:1: expected auto, text or json for log.format",
        ];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.starts_with(expected), "{mistake}");
        }
    }

    #[test]
    fn a_value_of_another_kind_is_a_mistake() {
        for file in
            ["[server]\ndata_dir = 5\n", "[server]\ndevelopment = \"true\"\n", "[log]\nfilter = true\n"]
        {
            let mistakes = load(&sources(file, &[], &[])).unwrap_err();
            assert!(mistakes[0].starts_with("q.toml:2:1: expected "), "{mistakes:?}");
        }
    }

    #[test]
    fn a_setting_that_two_flags_give_is_refused_with_both() {
        let told = |flags: &[(&str, &str)]| load(&sources("", &[], flags)).unwrap_err().join("; ");
        let classes =
            told(&[("retention.classes", "teams:unm*:count=1"), ("retention.classes", "rest:*:count=2")]);
        assert!(
            classes.contains("--set retention.classes=teams:unm*:count=1 and --set retention.classes=rest:*:count=2 both set")
                && classes.contains("with commas between"),
            "{classes}"
        );
        let number = told(&[("limits.connections_max", "7"), ("limits.connections_max", "8")]);
        assert!(number.ends_with("both set limits.connections_max: give it once"), "{number}");
        let flags = vec![
            Flag::new("--set", "server.listen", "127.0.0.1:1"),
            Flag::new("--listen", "server.listen", "127.0.0.1:2"),
        ];
        let other = load(&Sources { flags, ..Sources::default() }).unwrap_err().join("; ");
        assert!(other.contains("--set server.listen=127.0.0.1:1 and --listen 127.0.0.1:2"), "{other}");
        let one = told(&[("retention.classes", "a:x:count=1,a:y:count=2")]);
        assert!(one.contains("two classes are called \"a\""), "{one}");
    }

    #[test]
    fn a_flag_is_told_by_its_name() {
        let flags =
            vec![Flag::new("--listen", "server.listen", "::1"), Flag::new("--set", "log.format", "xml")];
        let mistakes = load(&Sources { flags, ..Sources::default() }).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "--listen ::1: expected a port as well, as in [::1]:4433 for server.listen",
                "--set log.format=xml: expected auto, text or json for log.format",
            ]
        );
    }

    #[test]
    fn a_path_in_a_file_is_relative_to_the_file() {
        let text = "[server]\ndata_dir = \"data\"\n[tls]\ncertificate_file = \"/abs/chain.pem\"\n\
                    [auth]\ntoken_keys = [\"a=EdDSA:keys/public.pem\"]\n";
        let file = Some(("conf/q.toml".into(), text.to_owned()));
        let env = vec![("QUOTH_TLS__PRIVATE_KEY_FILE".into(), "key.pem".into())];
        let config = load(&Sources { file, env, ..Sources::default() }).unwrap().config;
        assert_eq!(config.data_dir.to_str(), Some("conf/data"));
        assert_eq!(config.certificate_file.unwrap().to_str(), Some("/abs/chain.pem"));
        assert_eq!(config.private_key_file.unwrap().to_str(), Some("key.pem"));
        assert_eq!(config.token_keys[0].to_string(), "a=EdDSA:conf/keys/public.pem");
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
