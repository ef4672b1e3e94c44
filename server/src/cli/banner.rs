//! What a development server prints when it serves.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::announce::{Announcement, Found};
use crate::config::Config;
use crate::development::Development;
use crate::http::HAS_PAGE;

/// What this process knows of where it was started.
#[derive(Debug)]
struct Place {
    /// Of this program.
    executable: PathBuf,
    /// Where the commands of the banner will be typed.
    folder: PathBuf,
    /// Folders of `PATH`.
    path: Vec<PathBuf>,
}

/// The banner. `addresses` are where the server listens, and its API, if that is served.
pub(super) fn text(
    made: &Development,
    announced: &Announcement,
    (address, api): (SocketAddr, Option<SocketAddr>),
    durability: impl std::fmt::Display,
    config: &Config,
) -> String {
    let place = Place::here();
    let data = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
    let (quoth, is_built) = quoth(&place);
    let file = shell_word(announced.client_file());
    let (finds, choice) = match announced.found_from(&place.folder) {
        Found::This(file) => (format!("find this server through {}", file.display()), String::new()),
        Found::Other(other) => (
            format!("find another server through {}; this one with --client-file {file}", other.display()),
            format!(" --client-file {file}"),
        ),
        Found::None => {
            (format!("find this server with --client-file {file}"), format!(" --client-file {file}"))
        }
    };
    let links = if config.websocket && HAS_PAGE { links(made, address) } else { String::new() };
    let mut text = format!(
        "quoth-server {version} (development mode: loopback only, keys and tokens made by itself)\n\
         \n  address     {address} ({transports})\n{api}  CA          {ca}\n  data        {data}\n  \
         clients     {finds}\n  durability  {durability} (an ack means that the disk has it)\n  token       {token}\n\
         {links}\nChat from two other terminals",
        version = env!("CARGO_PKG_VERSION"),
        api = api.map_or_else(String::new, |api| format!("  server API  http://{api} (`quoth admin`)\n")),
        ca = made.ca_file.display(),
        data = data.display(),
        token = made.token(),
        transports =
            if config.websocket { "QUIC over UDP, WebSocket and HTTP over TCP" } else { "QUIC over UDP" },
    );
    let note = if is_built { "" } else { " (the first one compiles the client)" };
    let _infallible = write!(
        text,
        "{note}:\n\n  {quoth}{choice} chat general\n  {quoth}{choice} chat general --user bob\n\n"
    );
    text
}

/// Links to the chat page, each of which signs a user in. What stands behind the `#` is not sent to any
/// server.
fn links(made: &Development, address: SocketAddr) -> String {
    let mut text = "\nChat in a browser:\n\n".to_owned();
    for (user, token) in &made.user_tokens {
        let _infallible = writeln!(text, "  {user:<6}http://{address}/#token={token}");
    }
    text
}

/// The client's command, as it is typed in the folder where this server was started, and whether it is built.
fn quoth(place: &Place) -> (String, bool) {
    let beside = place.executable.with_file_name("quoth");
    let on_path = place.path.iter().map(|folder| folder.join("quoth")).find(|file| file.is_file());
    match (beside.is_file(), on_path) {
        (true, Some(on_path)) if on_path.canonicalize().ok() == beside.canonicalize().ok() => {
            ("quoth".to_owned(), true)
        }
        (true, _) => (typed(&beside, &place.folder), true),
        (false, Some(_)) => ("quoth".to_owned(), true),
        (false, None) => {
            let profile = if cfg!(debug_assertions) { "" } else { "--release " };
            (format!("cargo run {profile}--bin quoth --"), false)
        }
    }
}

/// A program's path from a folder. A shell would look for a name without a slash on `PATH`.
fn typed(program: &Path, folder: &Path) -> String {
    match program.strip_prefix(folder) {
        Ok(below) if below.components().count() == 1 => shell_word(&Path::new(".").join(below)),
        Ok(below) => shell_word(below),
        Err(_) => shell_word(program),
    }
}

/// A path as one word of a shell.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@%,=~".contains(c);
    if text.chars().all(is_plain) && !text.starts_with('~') {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Place {
    fn here() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            executable: std::env::current_exe().unwrap_or_default(),
            folder: std::env::current_dir().unwrap_or_default(),
            path: std::env::split_paths(&path).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Place, quoth, shell_word, typed};

    #[test]
    fn the_client_is_named_as_it_works_where_the_server_was_started() {
        let dir = tempfile::tempdir().unwrap();
        let (target, bin) = (dir.path().join("target/release"), dir.path().join("bin"));
        fs::create_dir_all(&target).unwrap();
        fs::create_dir(&bin).unwrap();
        let mut place = Place {
            executable: target.join("quoth-server"),
            folder: dir.path().to_owned(),
            path: vec![bin.clone()],
        };
        let (command, is_built) = quoth(&place);
        assert!(command.starts_with("cargo run ") && command.ends_with("--bin quoth --"), "{command}");
        assert!(!is_built);
        fs::write(bin.join("quoth"), "").unwrap();
        assert_eq!(quoth(&place), ("quoth".to_owned(), true));
        // One on PATH is of who knows which version.
        fs::write(target.join("quoth"), "").unwrap();
        assert_eq!(quoth(&place), ("target/release/quoth".to_owned(), true));
        place.path = vec![target];
        assert_eq!(quoth(&place), ("quoth".to_owned(), true));
    }

    #[test]
    fn a_path_is_typed_from_the_folder_and_is_one_word() {
        let program = Path::new("/opt/quoth's tools/quoth");
        assert_eq!(typed(program, Path::new("/opt")), r"'quoth'\''s tools/quoth'");
        assert_eq!(typed(program, Path::new("/opt/quoth's tools")), "./quoth");
        assert_eq!(typed(program, Path::new("/home")), r"'/opt/quoth'\''s tools/quoth'");
        assert_eq!(shell_word(Path::new("/a/b-c_1.2")), "/a/b-c_1.2");
    }
}
