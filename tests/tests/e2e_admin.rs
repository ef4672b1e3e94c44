//! `quoth admin`: the server API from the terminal, also over TLS.

#[path = "e2e_admin/retention.rs"]
mod retention;

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use quoth_server::config::Config;
use quoth_server::server::Server;
use quoth_tests::http::Api;
use quoth_tests::process::{ServerProcess, binary};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

fn admin(arguments: &[&str], line: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(binary("quoth"));
    // What the machine's user has set is not meant.
    command.env_clear().arg("admin").args(arguments).args(line);
    command.output().context("quoth runs")
}

/// What a command prints that must succeed.
fn done(arguments: &[&str], line: &[&str]) -> anyhow::Result<String> {
    let output = admin(arguments, line)?;
    ensure!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A server, and `quoth admin` beside it.
struct Terminal {
    server: ServerProcess,
    /// What tells of the server.
    client_file: String,
    dir: TempDir,
}

impl Terminal {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", arguments)?;
        let client_file = data.join("client.json").to_str().context("a path")?.to_owned();
        Ok(Self { server, client_file, dir })
    }

    fn here(&self) -> [&str; 2] {
        ["--client-file", &self.client_file]
    }

    fn says(&self, line: &[&str]) -> anyhow::Result<String> {
        done(&self.here(), line)
    }

    fn json(&self, line: &[&str]) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&done(&[&self.here()[..], &["--json"]].concat(), line)?)?)
    }
}

#[test]
fn everything_is_done_from_the_terminal() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    let say = |line: &[&str]| terminal.says(line);
    let json = |line: &[&str]| terminal.json(line);
    let stats = say(&["stats"])?;
    let is_max = |line: &str| line.starts_with("connections max ") && line.ends_with(" 100000");
    assert!(stats.lines().any(is_max), "{stats}");
    let stored = json(&["publish", "general", "hello", "there", "--as", "bob", "--once", "1"])?;
    assert_eq!((&stored["seq"], &stored["duplicate"]), (&json!(1), &json!(false)));
    assert_eq!(json(&["publish", "general", "hello", "--once", "1"])?["duplicate"], json!(true));
    let history = say(&["history", "general"])?;
    assert!(history.contains("hello there") && history.contains("bob"), "{history}");
    let made = json(&["conversation", "create", "--owner", "boss", "--member", "alice", "--title", "Team"])?;
    let name = made["conversation"].as_str().context("a name")?;
    assert!(say(&["conversation", "show", name])?.contains("Team"));
    let once = ["conversation", "create", "--owner", "boss", "--once", "team-2"];
    let (first, again) = (json(&once)?, json(&once)?);
    assert_eq!((&first["conversation"], again["seq"].as_u64()), (&again["conversation"], Some(0)));
    let listed = say(&["conversation", "list"])?;
    for there in ["general", name, "Team"] {
        assert!(listed.contains(there), "{listed}");
    }
    for line in [
        &["conversation", "rename", name, "Red"][..],
        &["conversation", "mute", name],
        &["conversation", "unmute", name],
        &["conversation", "slow-mode", name, "1s"],
        &["conversation", "revoke-invitations", name],
        &["member", "set", name, "carol", "--role", "reader"],
        &["member", "mute", name, "carol", "--for", "2h"],
        &["member", "unmute", name, "carol"],
        &["member", "ban", name, "carol"],
        &["member", "unban", name, "carol"],
        &["member", "remove", name, "alice"],
    ] {
        assert!(say(line)?.contains(name), "{line:?}");
    }
    assert!(say(&["conversation", "invite", name, "--role", "member"])?.contains("invitation"));
    let members = say(&["member", "list", name])?;
    assert!(
        members.contains("boss") && !members.contains("alice") && !members.contains("carol"),
        "{members}"
    );
    assert!(say(&["conversation", "of", "boss"])?.contains("Red"));
    assert_eq!(say(&["sessions", "alice"])?, "no sessions\n");
    assert!(say(&["presence", "alice"])?.contains("offline"));
    assert_eq!(say(&["kick", "alice", "--reason", "why not"])?, "closed  0\n");
    assert!(say(&["revoke", "--of", "alice"])?.starts_with("closed  "));
    assert_eq!(say(&["unrevoke", "--of", "alice"])?, "lifted  true\n");
    // A refusal says what to do, and so does a server that is not there.
    let refused = admin(&here, &["conversation", "show", "nothing"])?;
    let text = String::from_utf8(refused.stderr)?;
    assert!(
        refused.status.code() == Some(1) && text.contains("not_found") && text.contains("hint: "),
        "{text}"
    );
    // Nobody serves anything there, whatever runs beside this test.
    let key = terminal.dir.path().join("data/keys/api.key");
    let nowhere = ["--api", "http://127.0.0.1:1", "--api-key-file", key.to_str().context("a path")?];
    let gone = String::from_utf8(admin(&nowhere, &["stats"])?.stderr)?;
    assert!(gone.contains("error: ") && gone.contains("api.listen"), "{gone}");
    Ok(())
}

#[test]
fn what_keeps_out_and_what_lets_in_is_listed_and_ended() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    let say = |line: &[&str]| terminal.says(line);
    let json = |line: &[&str]| terminal.json(line);
    let name = "team";
    say(&["conversation", "create", name, "--owner", "boss"])?;
    say(&["conversation", "invite", name, "--role", "member"])?;
    let invitations = json(&["conversation", "invitations", name])?;
    let one = &invitations["invitations"][0];
    assert_eq!((&one["role"], &one["uses_left"]), (&json!("member"), &Value::Null), "{invitations}");
    let hash = one["hash"].as_str().context("a hash")?;
    let end = ["conversation", "revoke-invitation", name, hash];
    let ended = [json(&end)?, json(&end)?].map(|ended| ended["seq"].as_u64().unwrap_or_default() > 0);
    assert_eq!(ended, [true, false], "it is over at once, and the second time there is nothing to end");
    assert_eq!(say(&["conversation", "invitations", name])?, "no invitations\n");
    say(&["member", "ban", name, "dora"])?;
    say(&["member", "ban", name, "emil", "--for", "2h"])?;
    let banned = say(&["member", "banned", name, "--limit", "1"])?;
    assert!(banned.contains("dora") && banned.contains("for ever") && banned.contains("more"), "{banned}");
    let rest = json(&["member", "banned", name, "--after", "dora"])?;
    assert_eq!((&rest["bans"][0]["user"], &rest["more"]), (&json!("emil"), &json!(false)));
    let lost = json(&["revoke", "--of", "alice", "--reason", "lost"])?;
    let of_lost = &lost["in_force"][0];
    assert!(lost["closed"] == json!(0) && of_lost["issued_before_ms"].is_u64(), "{lost}");
    let single = json(&["revoke", "--token-id", "t", "--expires", "1h"])?;
    let of_single = &single["in_force"][0];
    assert_eq!((&single["closed"], &of_single["issued_before_ms"]), (&json!(0), &Value::Null));
    ensure!(of_single["expires_ms"].is_u64(), "{single}");
    let of_device = String::from_utf8(admin(&here, &["revoke", "--of", "alice", "--device", "d"])?.stderr)?;
    assert!(of_device.contains("next 30 s") && of_device.contains("claim `device`"), "{of_device}");
    say(&["unrevoke", "--of", "alice", "--device", "d"])?;
    let first = json(&["revocations", "--limit", "1"])?;
    let next = first["next"].as_str().context("there is another one")?;
    let second = json(&["revocations", "--after", next])?;
    assert_eq!((&first["revocations"][0]["token_id"], &second["next"]), (&json!("t"), &Value::Null));
    let of_alice = &second["revocations"][0];
    assert_eq!((&of_alice["user"], &of_alice["reason"]), (&json!("alice"), &json!("lost")));
    assert!(say(&["revocations"])?.contains("for ever"));
    Ok(())
}

/// Whoever is at a terminal speaks no HTTP, and any name is taken.
#[test]
fn refusals_are_answered_in_commands_and_slips_in_names_are_told() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    terminal.says(&["publish", "unmanaged", "hello", "--as", "alice"])?;
    for (line, hint) in [
        (&["user", "erasure", "bobb"][..], "quoth admin user erase"),
        (&["conversation", "show", "unmanaged"], "quoth admin conversation create"),
        (&["member", "list", "unmanaged"], "quoth admin conversation create"),
        (&["retention", "show", "nosuch"], "quoth admin conversation list"),
        (&["message", "edit", "unmanaged", "1", "x"], "--as USER"),
    ] {
        let refused = admin(&here, line)?;
        let text = String::from_utf8(refused.stderr)?;
        let told = text.lines().find_map(|line| line.strip_prefix("hint: ")).context("a hint")?;
        assert!(refused.status.code() == Some(1) && told.contains(hint), "{line:?}: {text}");
        for word in ["/v1/", "GET", "POST", "PUT", "DELETE", "PATCH", "`user`"] {
            assert!(!told.contains(word), "{line:?}: {text}");
        }
    }
    let unseen = "bobb has never signed in here";
    for (line, note) in [
        (&["kick", "bobb"][..], "nobody was connected there"),
        (&["kick", "bobb"], unseen),
        (&["revoke", "--of", "bobb", "--for-good"], unseen),
        (&["user", "block", "bobb", "alice"], unseen),
        (&["conversation", "create", "team", "--owner", "bobb"], unseen),
        (&["member", "add", "team", "bobb", "--role", "owner"], unseen),
        (&["publish", "teem", "typo"], "nothing was said in teem before"),
        (&["kick", "bobb", "--device", "phnoe"], "bobb has no device phnoe here"),
        (&["revoke", "--of", "bobb", "--device", "phnoe"], "bobb has no device phnoe here"),
        (&["revoke", "--of", "bobb", "--issued-before", "1h"], "and that stays in force"),
        (&["unrevoke", "--of", "bobbb"], "nothing of that was revoked"),
        (&["unrevoke", "--of", "bobbb"], "bobbb has never signed in here"),
        (&["member", "unmute", "team", "bobbb"], "bobbb has never signed in here"),
        (&["member", "unban", "team", "bobbb"], "bobbb has never signed in here"),
        (&["member", "remove", "team", "bobbb"], "bobbb has never signed in here"),
    ] {
        let done = admin(&here, line)?;
        let notes = String::from_utf8(done.stderr)?;
        assert!(done.status.success() && notes.contains(note), "{line:?}: {notes}");
    }
    let broadcast = terminal.says(&["broadcast", "hi", "--to", "teem", "--to", "teeem"])?;
    assert!(broadcast.contains("teem  2\nteeem  1  the first one there"), "{broadcast}");
    // A host and a port are enough.
    let api = terminal.server.client_file()?["api"].as_str().context("its API")?.to_owned();
    let (_, address) = api.split_once("://").context("a URL")?;
    let key = terminal.dir.path().join("data/keys/api.key");
    let away = ["--api", address, "--api-key-file", key.to_str().context("a path")?];
    assert!(done(&away, &["stats"])?.contains("connections"));
    // Beyond loopback a key goes nowhere in clear text.
    let elsewhere = ["--api", "chat.example:4434", "--api-key-file", away[3]];
    let no_ca = String::from_utf8(admin(&elsewhere, &["stats"])?.stderr)?;
    assert!(no_ca.contains("give the PEM file of the CA"), "{no_ca}");
    // Nor is a program told what only a reader asks about.
    let line = ["conversation", "create", "teams", "--owner", "bobb", "--json"];
    assert_eq!(String::from_utf8(admin(&here, &line)?.stderr)?, "");
    // None is wanted where a number is.
    let endless = admin(&here, &["conversation", "invite", "team", "--role", "member", "--uses-max", "0"])?;
    assert_eq!(endless.status.code(), Some(2));
    assert!(String::from_utf8(endless.stderr)?.contains("any number of users"));
    Ok(())
}

/// An API that goes silent behind an answer is not asked for each name that might have a slip in it.
#[test]
fn what_is_done_is_told_at_once_and_no_silent_api_is_asked_again_and_again() -> anyhow::Result<()> {
    let api = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = api.local_addr()?.to_string();
    let asked = std::thread::spawn(move || -> std::io::Result<Vec<String>> {
        let mut asked = Vec::new();
        for connection in api.incoming() {
            let mut connection = std::io::BufReader::new(connection?);
            let (mut line, mut header, mut length) = (String::new(), String::new(), 0);
            connection.read_line(&mut line)?;
            while connection.read_line(&mut header)? > 2 {
                let (name, value) = header.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or_default();
                }
                header.clear();
            }
            connection.read_exact(&mut vec![0; length])?;
            let is_end = line.starts_with("END");
            // Of the questions behind it none is answered.
            if line.starts_with("POST") {
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length";
                let body = r#"{"conversation":"team","seq":1}"#;
                write!(connection.get_mut(), "{head}: {}\r\n\r\n{body}", body.len())?;
            }
            if is_end {
                break;
            }
            asked.push(line);
        }
        Ok(asked)
    });
    let dir = tempfile::tempdir()?;
    let key = dir.path().join("key");
    std::fs::write(&key, "none")?;
    let key = key.to_str().context("a path")?;
    let line = ["conversation", "create", "team", "--owner", "alice", "--member", "bob", "--member", "carol"];
    let told = done(&["--api", &address, "--api-key-file", key], &line)?;
    std::net::TcpStream::connect(&address)?.write_all(b"END\r\n\r\n")?;
    let asked = asked.join().map_err(|_| anyhow::anyhow!("the API has failed"))??;
    assert!(told.contains("team"), "{told}");
    assert!(asked.len() == 2 && asked[1].contains("alice/presence"), "{asked:?}");
    Ok(())
}

/// A block that is set for a user is the user's own: it holds, and either of them ends it.
#[test]
fn a_user_is_blocked_in_anothers_name_and_let_in_again() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    let say = |line: &[&str]| terminal.says(line);
    let quoth = |user: &str, line: &str| -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(binary("quoth"));
        command.env_clear().args(here).args(["--token", &terminal.server.token(user)?]).args(line.split(' '));
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8(output.stdout)?))
    };
    assert_eq!(say(&["user", "blocked", "bob"])?, "no blocks\n");
    let block = ["user", "block", "bob", "alice"];
    let stored: Vec<bool> = [&block[..], &block]
        .map(|line| {
            let json = terminal.json(line)?;
            ensure!((&json["whom"], &json["blocked"]) == (&json!("alice"), &json!(true)), "{json}");
            Ok(json["seq"].as_u64().context("a seq")? > 0)
        })
        .into_iter()
        .collect::<anyhow::Result<_>>()?;
    assert_eq!(stored, [true, false], "the second time there is nothing to change");
    assert!(say(&["user", "blocked", "bob"])?.contains("alice"));
    assert_eq!(quoth("bob", "block")?, (true, "alice\n".to_owned()), "bob sees it");
    assert!(!quoth("alice", "conversation create --direct bob")?.0, "it holds");
    assert_eq!(quoth("bob", "block alice --lift")?.1, "alice is not blocked any more\n");
    say(&block)?;
    say(&["user", "unblock", "bob", "alice"])?;
    assert!(quoth("alice", "conversation create --direct bob")?.0);
    let oneself = admin(&here, &["user", "block", "bob", "bob"])?;
    assert!(String::from_utf8(oneself.stderr)?.contains("invalid"), "nobody blocks oneself");
    Ok(())
}

/// What takes several requests is in order, told message by message, and may be done again.
#[test]
fn many_messages_are_published_and_each_says_what_has_become_of_it() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    let lines = |count: u64, more: &str| -> anyhow::Result<String> {
        let line = |n: u64| {
            let message = json!({ "conversation": "orders", "text": format!("order {n}"), "idempotency_key": n.to_string() });
            format!("{message}\n")
        };
        let path = terminal.dir.path().join("orders.jsonl");
        std::fs::write(&path, (1..=count).map(line).collect::<String>() + more)?;
        Ok(path.to_string_lossy().into_owned())
    };
    // More than one request takes. The refused one is last but one, and holds up none behind it.
    let refused =
        "{\"conversation\":\"$none\",\"text\":\"x\"}\n\n{\"conversation\":\"orders\",\"text\":\"last\"}\n";
    let batch = lines(1_001, refused)?;
    let output = admin(&here, &["batch", &batch])?;
    let (text, notes) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert_eq!(output.status.code(), Some(1), "{notes}");
    let said: Vec<&str> = text.lines().collect();
    assert_eq!((said[0], said[1_000]), ("orders  1  the first one there", "orders  1001"));
    assert!(said[1_001].starts_with("$none  refused: forbidden: "), "{}", said[1_001]);
    assert_eq!(&said[1_002..], ["orders  1002", "1002 stored, 1 refused"]);
    assert!(notes.contains("* 1000 of 1003 messages"), "{notes}");
    let again = lines(1_001, "")?;
    let again: Value = serde_json::from_str(&done(&here, &["--json", "batch", &again])?)?;
    assert_eq!((&again["stored"], &again["refused"]), (&json!(1_001), &json!(0)));
    let is_repeat = |result: &Value| result["duplicate"] == json!(true);
    assert!(again["results"].as_array().is_some_and(|all| all.len() == 1_001 && all.iter().all(is_repeat)));
    // Nothing goes before all lines are messages, and what the server refuses is named by its line.
    let slip = lines(1, "{}\nnone\n")?;
    let told = String::from_utf8(admin(&here, &["batch", &slip])?.stderr)?;
    assert!(told.contains("line 3 is no JSON object") && told.contains("nothing was published"), "{told}");
    let slip = lines(2, "{\"conversation\":\"orders\"}\n")?;
    let told = String::from_utf8(admin(&here, &["batch", &slip])?.stderr)?;
    assert!(told.contains("line 3: give either text or base64") || told.contains("line 3: "), "{told}");
    let head = serde_json::from_str::<Value>(&done(&here, &["--json", "history", "orders", "-n", "1"])?)?;
    assert_eq!(head["head"], json!(1_002));

    let names = terminal.dir.path().join("names");
    std::fs::write(&names, (0..1_001).map(|n| format!("team-{n}\n")).collect::<String>())?;
    let names = names.to_string_lossy();
    let line =
        ["broadcast", "hello", "all", "--to", "general", "--to-file", &names, "--once", "k", "--as", "ops"];
    let text = done(&here, &line)?;
    let first = "the first one there";
    assert!(text.starts_with(&format!("general  1  {first}\nteam-0  1  {first}\n")), "{text}");
    assert!(text.ends_with(&format!("team-1000  1  {first}\n1002 stored, 0 refused\n")), "{text}");
    let text = done(&here, &line)?;
    assert!(text.starts_with("general  1  it was there already\n"), "{text}");
    Ok(())
}

/// A server in production, whose API is on all addresses.
struct Public {
    api: Api,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<(), String>>>,
}

impl Public {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let made = quoth_certs::development(&dir.join("keys"), &[], now_s())?;
        let write = |name: &str| {
            let file = dir.join(name);
            std::fs::write(&file, format!("{name}-{}", "x".repeat(32))).map(|()| file)
        };
        let (token_key, api_key) = (write("token")?, write("ops")?);
        let mut config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: dir.join("data"),
            certificate_file: Some(made.leaf_pem_path),
            private_key_file: Some(made.leaf_key_pem_path),
            token_keys: vec![format!("HS256:{}", token_key.display()).parse().map_err(anyhow::Error::msg)?],
            ..Config::default()
        };
        config.api.listen = "0.0.0.0:0".parse().map_err(anyhow::Error::msg)?;
        config.api.keys =
            vec![format!("ops=admin:{}", api_key.display()).parse().map_err(anyhow::Error::msg)?];
        let (stop, stopped) = oneshot::channel();
        let (started, starts) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(async {
                let server = Server::start(&config)?;
                let address = server.api_address().ok_or("the API is off")?;
                started.send(address).map_err(|error| error.to_string())?;
                let _dropped_or_told = stopped.await;
                server.stop().await
            })
        });
        let port = starts.recv().context("it does not start")?.port();
        let key = format!("ops-{}", "x".repeat(32));
        let api = Api { address: ([127, 0, 0, 1], port).into(), key };
        Ok(Self { api, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _a_failed_test_tells_more = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[test]
fn what_others_can_reach_is_served_over_tls_alone() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Public::start(dir.path())?;
    let plain = server.api.send("GET", "/v1/stats", None)?;
    assert_eq!((plain.status(), plain.json()["code"].as_str().unwrap_or_default()), (400, "tls_wanted"));
    let url = format!("https://localhost:{}", server.api.address.port());
    let (ca, key) = (dir.path().join("keys/ca.pem"), dir.path().join("ops"));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (ca, key) = (path(&ca), path(&key));
    let stats = done(&["--api", &url, "--api-key-file", &key, "--ca", &ca, "--json"], &["stats"])?;
    assert_eq!(serde_json::from_str::<Value>(&stats)?["connections"], json!(0));
    let no_ca = String::from_utf8(admin(&["--api", &url, "--api-key-file", &key], &["stats"])?.stderr)?;
    assert!(no_ca.contains("--ca"), "{no_ca}");
    let no_key = String::from_utf8(admin(&["--api", &url, "--ca", &ca], &["stats"])?.stderr)?;
    assert!(no_key.contains("--api-key-file"), "{no_key}");
    Ok(())
}

/// A script that goes by the exit code does not take it for done.
#[test]
fn an_erasure_of_a_last_owner_is_not_finished_and_says_how_it_is() -> anyhow::Result<()> {
    let terminal = Terminal::start(&[])?;
    let here = terminal.here();
    let create = ["conversation", "create", "g2", "--owner", "carol", "--member", "bob"];
    done(&here, &create)?;
    // Until it is what is wanted: its exit code, its answer and what is said behind that.
    let comes_to = |states: &[&str]| -> anyhow::Result<(Option<i32>, String)> {
        loop {
            let output = admin(&here, &["user", "erasure", "carol"])?;
            let answer = String::from_utf8(output.stdout)?;
            let is_one = |line: &str| states.iter().any(|state| line.split_whitespace().eq(["state", state]));
            let is_it = answer.lines().any(is_one);
            let told = String::from_utf8(output.stderr)?;
            if is_it {
                return Ok((output.status.code(), told));
            }
            ensure!(answer.contains("under_way") && output.status.code() == Some(1), "{answer}{told}");
        }
    };
    let asked = admin(&here, &["user", "erase", "carol"])?;
    let told = String::from_utf8(asked.stderr)?;
    ensure!(asked.status.success() && told.contains("`quoth admin revoke --of carol --for-good`"), "{told}");
    let (code, told) = comes_to(&["last_owner"])?;
    assert_eq!(code, Some(1), "{told}");
    ensure!(told.contains("not finished") && told.contains("member set g2 OTHER --role owner"), "{told}");
    let status = done(&here, &["retention", "status"])?;
    ensure!(status.contains("erasures:\n  carol\n"), "{status}");
    done(&here, &["member", "set", "g2", "bob", "--role", "owner"])?;
    done(&here, &["user", "erase", "carol"])?;
    let (code, told) = comes_to(&["absent", "gone"])?;
    assert_eq!(code, Some(0), "{told}");
    let status = done(&here, &["retention", "status"])?;
    ensure!(status.contains("no erasure is unfinished\n"), "{status}");
    Ok(())
}
