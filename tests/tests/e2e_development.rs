//! Development servers as their users meet them: which one `quoth` finds, the line to copy, and what is
//! refused.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use quoth_tests::process::binary;

/// A folder in which commands are typed, with a well-known place of its own for the files of servers.
struct Terminal(tempfile::TempDir);

/// A server that has printed its banner, killed when it is dropped.
struct Server {
    child: Child,
    banner: Vec<String>,
}

impl Terminal {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env("XDG_RUNTIME_DIR", self.path("run")).stdin(Stdio::null());
        command
    }

    fn serve(&self, data_dir: &str) -> Server {
        let mut command = self.command(binary("quoth-server"));
        command.args(["--listen", "127.0.0.1:0", "--data-dir", data_dir]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Server { child, banner: Vec::new() };
        let lines = BufReader::new(server.child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            server.banner.push(line.trim().to_owned());
            if line.ends_with("chat general --user bob") {
                return server;
            }
        }
        panic!("no banner: {:#?}", server.banner);
    }

    fn shell(&self, line: &str) -> Output {
        self.command("sh").args(["-c", line]).output().unwrap()
    }

    /// What both `check` and `run` refuse with exit code 2.
    fn refusal(&self, arguments: &[&str]) -> String {
        let errors = |command: &str| {
            let output = self.server(&[arguments, &[command]].concat());
            assert_eq!(output.status.code(), Some(2), "{command} {arguments:?}: {}", text(&output));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let (checked, run) = (errors("check"), errors("run"));
        assert_eq!(checked, run);
        run
    }

    fn server(&self, arguments: &[&str]) -> Output {
        self.command(binary("quoth-server")).args(arguments).output().unwrap()
    }
}

impl Server {
    /// The address that it has printed.
    fn address(&self) -> &str {
        let line = self.banner.iter().find_map(|line| line.strip_prefix("address")).unwrap();
        line.split_whitespace().next().unwrap()
    }

    /// The first line to copy, with another command in place of the chat.
    fn line(&self, command: &str) -> String {
        let line = self.banner.iter().find(|line| line.ends_with(" chat general")).unwrap();
        line.replace("chat general", command)
    }

    fn terminate(mut self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success() && self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn the_line_of_each_banner_reaches_its_server_and_the_first_one_stays_the_default() {
    let terminal = Terminal::new();
    let (first, second) = (terminal.serve("a"), terminal.serve("b's"));
    for server in [&first, &second] {
        let address = server.address();
        let sent = terminal.shell(&server.line(&format!("send {address} hello")));
        assert!(sent.status.success(), "{}", text(&sent));
        // A conversation that only this server has.
        let read = terminal.shell(&server.line(&format!("history {address} --all")));
        assert!(text(&read).contains("<alice> hello"), "{}", text(&read));
    }
    let quoth = binary("quoth").display().to_string();
    let sent = terminal.shell(&format!("{quoth} send whose hello"));
    assert!(sent.status.success(), "{}", text(&sent));
    let read = terminal.shell(&first.line("history whose --all"));
    assert!(text(&read).contains("<alice> hello"), "{}", text(&read));

    // What has stopped is not found, and what was killed is told with the file that has named it.
    first.terminate();
    let nobody = terminal.shell(&format!("{quoth} send whose hello"));
    assert!(text(&nobody).contains("no development server on this machine"), "{}", text(&nobody));
    assert!(!terminal.path("a/client.json").exists());
    drop(second);
    let file = terminal.path("b's/client.json");
    let mut silent = terminal.command(&quoth);
    let silent = silent.arg("--client-file").arg(&file).args(["send", "whose", "hello"]).output().unwrap();
    let told = text(&silent);
    assert!(
        told.contains(&format!("named by {}", file.display())) && told.contains("--client-file"),
        "{told}"
    );
}

#[test]
fn the_banner_links_each_user_to_the_chat_page() {
    let terminal = Terminal::new();
    let server = terminal.serve("data");
    let client: serde_json::Value =
        serde_json::from_slice(&std::fs::read(terminal.path("data/client.json")).unwrap()).unwrap();
    for user in ["alice", "bob"] {
        let line = server.banner.iter().find(|line| line.starts_with(user)).unwrap();
        let (page, token) = line[user.len()..].trim().split_once("#token=").unwrap();
        assert_eq!(page, format!("http://{}/", server.address()));
        assert_eq!(client["tokens"][user], token);
    }
    let api = server.banner.iter().find_map(|line| line.strip_prefix("server API")).unwrap();
    assert!(api.contains(client["api"].as_str().unwrap()), "{api}");
    let without =
        terminal.command(binary("quoth-server")).args(["--set", "server.websocket=false", "check"]).output();
    assert!(without.unwrap().status.success());
}

#[test]
fn check_and_run_refuse_the_same_with_the_same_code_and_touch_nothing() {
    let terminal = Terminal::new();
    std::fs::create_dir(terminal.path("postgres")).unwrap();
    std::fs::write(terminal.path("postgres/PG_VERSION"), "17").unwrap();
    std::fs::write(terminal.path("file"), "").unwrap();
    std::fs::write(terminal.path("defaults.toml"), terminal.server(&["config"]).stdout).unwrap();
    let production = "[tls]\ncertificate_file = \"chain.pem\"\nprivate_key_file = \"key.pem\"\n\
                      [auth]\ntoken_keys = [\"EdDSA:public.pem\"]\n";
    std::fs::write(terminal.path("production.toml"), production).unwrap();
    for (arguments, reason) in [
        (&["--data-dir", "postgres"][..], "PG_VERSION"),
        (&["--data-dir", "file/below"], "cannot be"),
        (&["--config", "production.toml"], "chain.pem"),
        (&["--config", "defaults.toml"], "set server.development to true"),
        (&["--listen", "127.0.0.1"], "--listen 127.0.0.1: expected a port as well, as in 127.0.0.1:4433"),
    ] {
        let refusal = terminal.refusal(arguments);
        assert!(refusal.contains(reason), "{refusal}");
    }
    assert_eq!(names(&terminal.path("postgres")), ["PG_VERSION"]);
    let token = terminal.server(&["token", "--user", "carol", "--key", "key.pem"]);
    assert_eq!(token.status.code(), Some(2), "{}", text(&token));
    let checked = terminal.server(&["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked));
    assert!(!terminal.path("quoth-data").exists());
}

#[test]
fn a_reader_of_the_output_that_has_gone_is_no_failure() {
    let terminal = Terminal::new();
    for arguments in [&["check"][..], &["config"], &["config", "--effective"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output =
            terminal.command(binary("quoth-server")).args(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    }
}

#[test]
fn a_damaged_file_in_the_data_folder_is_refused_and_nothing_there_is_touched() {
    let terminal = Terminal::new();
    terminal.serve("data").terminate();
    for (file, reason) in [
        ("keys/signing.key", "signing.key is too short for HS256"),
        ("keys/ca.pem", "restore ca.pem and ca-key.pem, or remove both"),
        ("keys/ca-key.pem", "restore ca.pem and ca-key.pem, or remove both"),
        ("keys/endpoint.key", "endpoint.key is damaged: delete it"),
        ("keys/tickets.key", "tickets.key is damaged: delete it"),
        ("store/format", "is no data folder of Quoth"),
    ] {
        let path = terminal.path("data").join(file);
        let sound = std::fs::read(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let before = names(&terminal.path("data"));
        let refusal = terminal.refusal(&["--data-dir", "data", "--listen", "127.0.0.1:0"]);
        assert!(refusal.contains(reason), "{refusal}");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        assert_eq!(names(&terminal.path("data")), before);
        std::fs::write(&path, sound).unwrap();
    }
    terminal.serve("data").terminate();
}
