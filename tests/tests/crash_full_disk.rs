//! A server on a file system that is full: what is new is refused, what is stored is read, nothing is lost,
//! and it goes on by itself when there is room. The file systems are real ones (tmpfs), mounted where nobody
//! else sees them, which needs root.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use quoth_tests::command::{failed, ok, server_command};
use quoth_tests::http::Api;
use quoth_tests::process::ServerProcess;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Set where the mounts are a test's own.
const OWN_MOUNTS: &str = "OWN_MOUNTS";

/// A bound of a hang, not a measurement.
const HANG: Duration = Duration::from_secs(60);

/// Small ones, so that they fill.
const ARGUMENTS: &[&str] =
    &["--set", "store.log_segment_bytes=4194304", "--set", "store.reserve_bytes=8388608"];

/// The same without anything that is held back.
const WITHOUT_RESERVE: &[&str] =
    &["--set", "store.log_segment_bytes=4194304", "--set", "store.reserve_bytes=0"];

const MIB: u64 = 1024 * 1024;

/// Runs a test of this name in a mount namespace of its own, which ends with it, and whatever is mounted
/// there.
fn with_own_mounts(name: &str, test: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return test();
    }
    let mut own = Command::new("unshare");
    own.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    println!("{}", ok(own.args(["--exact", name, "--nocapture"]).env(OWN_MOUNTS, "1")));
    Ok(())
}

/// Mounts a file system of so many bytes, or changes how many an existing one has.
fn mount(dir: &Path, bytes: u64, option: &str) {
    let options = format!("{option}size={bytes}");
    ok(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(dir));
}

/// A server with its data on a disk of so many bytes: its folder, which goes with the test, that of its data,
/// itself, and its API.
fn on_a_disk(bytes: u64, arguments: &[&str]) -> anyhow::Result<(TempDir, PathBuf, ServerProcess, Api)> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    std::fs::create_dir(&data)?;
    mount(&data, bytes, "");
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", arguments)?;
    let api = Api::told(&server.client_file()?)?;
    Ok((dir, data, server, api))
}

/// What is published: a message of so many bytes that some hundreds fill a disk.
fn body(number: u64) -> String {
    format!("message {number} {}", "x".repeat(60_000))
}

/// Publishes a message under a key of its own; gives its seq, or the code of the refusal.
fn publish(api: &Api, number: u64) -> anyhow::Result<Result<u64, String>> {
    let message = json!({ "conversation": "general", "text": body(number), "idempotency_key": format!("key-{number}") });
    let answer = api.send("POST", "/v1/publish", Some(&message))?;
    let told = answer.json();
    Ok(match answer.status() {
        200 => Ok(told["seq"].as_u64().unwrap()),
        503 => Err(told["code"].as_str().unwrap_or_default().to_owned()),
        status => anyhow::bail!("{status}: {told}"),
    })
}

/// Publishes until a message is refused; gives the number of the last one that was stored. Merging may make
/// room for some more at once.
fn fill_for_now(api: &Api, mut number: u64) -> anyhow::Result<u64> {
    loop {
        match publish(api, number + 1)? {
            Ok(seq) => assert_eq!(seq, number + 1),
            Err(code) => {
                assert_eq!(code, "storage_full");
                return Ok(number);
            }
        }
        number += 1;
        anyhow::ensure!(number < 5_000, "it is never full");
    }
}

/// The same until messages have been refused again and again, for so long that nobody makes room any more.
fn fill(api: &Api, mut number: u64) -> anyhow::Result<u64> {
    const FOR_GOOD: Duration = Duration::from_secs(5);
    loop {
        number = fill_for_now(api, number)?;
        let began = Instant::now();
        while let Err(code) = publish(api, number + 1)? {
            assert_eq!(code, "storage_full");
            if began.elapsed() > FOR_GOOD {
                return Ok(number);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        number += 1;
    }
}

/// On a full disk a repeat of what is stored is known, and reads go on.
fn serves(api: &Api, stored: u64) -> anyhow::Result<()> {
    for number in [1, stored] {
        assert_eq!(
            publish(api, number)?,
            Ok(number),
            "it is stored, and its sender must not take it for refused"
        );
    }
    assert_eq!(last(api)?, (stored, body(stored)));
    Ok(())
}

/// The head and the text of the last message.
fn last(api: &Api) -> anyhow::Result<(u64, String)> {
    let page = api.done("GET", "/v1/conversations/general/history?limit=1", None)?;
    let text = page["events"][0]["kind"]["message"]["body"].as_str().unwrap_or_default();
    Ok((page["head"].as_u64().unwrap(), text.to_owned()))
}

/// The next message is stored before long, and some more.
fn recovers(api: &Api, stored: u64) -> anyhow::Result<u64> {
    let began = Instant::now();
    while publish(api, stored + 1)? != Ok(stored + 1) {
        anyhow::ensure!(began.elapsed() < HANG, "it does not recover");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("stored again after {:?}", began.elapsed());
    for number in stored + 2..stored + 12 {
        assert_eq!(publish(api, number)?, Ok(number));
    }
    Ok(stored + 11)
}

/// After a kill and a start, every message is there, in its order.
fn nothing_is_lost(server: ServerProcess, data: &Path, stored: u64) -> anyhow::Result<()> {
    let log = ServerProcess::log(data);
    assert!(!log.contains("nothing is acked any more") && !log.contains("panicked"), "{log}");
    server.kill()?;
    ok(server_command(&["verify"]).arg("--data-dir").arg(data));
    let all = ok(server_command(&["export"]).arg("--data-dir").arg(data));
    let mut count = 0;
    for (number, line) in (1..).zip(all.lines()) {
        let line: Value = serde_json::from_str(line)?;
        assert_eq!(
            (&line["event"]["seq"], &line["event"]["kind"]["message"]["body"]),
            (&json!(number), &json!(body(number)))
        );
        count = number;
    }
    assert_eq!(count, stored);
    let server = ServerProcess::start_with(data, "127.0.0.1:0", ARGUMENTS)?;
    let api = Api::told(&server.client_file()?)?;
    assert_eq!(publish(&api, stored + 1)?, Ok(stored + 1));
    assert!(server.terminate()?.success());
    Ok(())
}

#[test]
fn a_full_disk_is_refused_and_left_when_there_is_room() -> anyhow::Result<()> {
    with_own_mounts("a_full_disk_is_refused_and_left_when_there_is_room", || {
        let (_dir, data, server, api) = on_a_disk(40 * MIB, WITHOUT_RESERVE)?;
        let mut stored = 0;
        // Twice: what was cleaned up once must be so again.
        for size in [70 * MIB, 120 * MIB] {
            stored = fill(&api, stored)?;
            println!("full with {stored} messages");
            serves(&api, stored)?;
            mount(&data, size, "remount,");
            stored = recovers(&api, stored)?;
        }
        nothing_is_lost(server, &data, stored)
    })
}

/// The same with a reserve: operators' changes are stored, nobody else's are, and space is freed by them.
#[test]
fn on_a_full_disk_operators_free_space() -> anyhow::Result<()> {
    with_own_mounts("on_a_full_disk_operators_free_space", || {
        let (_dir, data, server, api) = on_a_disk(60 * MIB, ARGUMENTS)?;
        let stored = fill(&api, 0)?;
        println!("full with {stored} messages");
        serves(&api, stored)?;
        let storage_full = || anyhow::Ok(api.done("GET", "/v1/stats", None)?["storage_full"] == json!(true));
        assert!(storage_full()?);
        let metrics = String::from_utf8(api.send("GET", "/metrics", None)?.body)?;
        assert!(metrics.contains("\nquoth_storage_full 1\n"), "{metrics}");
        let change = |method, path: &str, body| api.done(method, &format!("/v1/conversations/{path}"), body);
        // Of each kind that frees something, and a hold, for which somebody may have to hurry.
        change("PUT", "general/hold", None)?;
        change("DELETE", "general/hold", None)?;
        change("DELETE", "general/messages/2", None)?;
        api.done("POST", "/v1/users/nobody/erasure", None)?;
        let group = json!({ "conversation": "team", "kind": "group", "owner": "ada" });
        let refused = api.send("POST", "/v1/conversations", Some(&group))?;
        assert_eq!((refused.status(), &refused.json()["code"]), (503, &json!("storage_full")));
        assert_eq!(publish(&api, stored + 1)?, Err("storage_full".to_owned()));
        // A restart finds the disk as it is.
        assert!(server.terminate()?.success());
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        let policy = json!({ "age_s": 0, "count": 10, "bytes": 0 });
        let told = api.done("PUT", "/v1/conversations/general/retention", Some(&policy))?;
        let head = told["seq"].as_u64().unwrap();
        let page = api.done("GET", "/v1/conversations/general/history?after=0", None)?;
        assert_eq!(page["floor"], json!(head - 9), "what it takes is absent at once");
        // Its space follows, without anybody's doing and with nothing else deleted.
        let began = Instant::now();
        let next = loop {
            match publish(&api, stored + 1)? {
                Ok(seq) => break seq,
                Err(code) => assert_eq!(code, "storage_full"),
            }
            anyhow::ensure!(began.elapsed() < HANG, "no space is freed");
            std::thread::sleep(Duration::from_millis(50));
        };
        println!("stored again after {:?}", began.elapsed());
        assert_eq!(next, head + 1, "no seq is lost");
        let stats = api.done("GET", "/v1/stats", None)?;
        assert_eq!(stats["storage_full"], json!(false));
        let reserve = std::fs::metadata(data.join("store/reserve"))?;
        assert_eq!(reserve.len(), 8 * MIB);
        server.kill()?;
        ok(server_command(&["verify"]).arg("--data-dir").arg(&data));
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        assert_eq!(last(&api)?, (next, body(stored + 1)));
        assert!(server.terminate()?.success());
        Ok(())
    })
}

/// Others have filled the disk to its last byte while the server was down: with its reserve it starts.
#[test]
fn a_server_comes_back_on_a_disk_that_others_have_filled() -> anyhow::Result<()> {
    with_own_mounts("a_server_comes_back_on_a_disk_that_others_have_filled", || {
        let (_dir, data, server, api) = on_a_disk(60 * MIB, ARGUMENTS)?;
        for number in 1..=10 {
            assert_eq!(publish(&api, number)?, Ok(number));
        }
        assert!(server.terminate()?.success());
        let filler = data.join("of others");
        let mut file = std::fs::File::create(&filler)?;
        let full = loop {
            if let Err(error) = file.write_all(&[b'x'; 4096]) {
                break error;
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        serves(&api, 10)?;
        std::fs::remove_file(&filler)?;
        let stored = recovers(&api, 10)?;
        nothing_is_lost(server, &data, stored)
    })
}

/// How many files and folders are below a folder, with or without those that go meanwhile.
fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| 1 + files(&entry.path())).sum()
}

/// Everything but the view has room: messages are stored for as long as the view's backlog is bounded.
#[test]
fn a_full_disk_of_the_view_alone_is_waited_for() -> anyhow::Result<()> {
    with_own_mounts("a_full_disk_of_the_view_alone_is_waited_for", || {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let (view, moved) = (data.join("store/view"), dir.path().join("moved"));
        assert!(ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?.terminate()?.success());
        std::fs::rename(&view, &moved)?;
        std::fs::create_dir(&view)?;
        mount(&view, 6 * MIB, "");
        ok(Command::new("cp").arg("-a").arg(moved.join(".")).arg(&view));
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        let mut stored = 0;
        // What is in memory has to find room as a whole.
        for size in [64 * MIB, 200 * MIB] {
            stored = fill(&api, stored)?;
            println!("full with {stored} messages");
            serves(&api, stored)?;
            // What could not be finished does not take the space that is left, attempt after attempt.
            let before = files(&view);
            // Several attempts, of which a failing one tells nobody: there is no event to wait for.
            std::thread::sleep(Duration::from_secs(3));
            // One that is under way has a file more until it has failed.
            let began = Instant::now();
            while files(&view) > before {
                anyhow::ensure!(began.elapsed() < HANG, "files gather: {} of {before}", files(&view));
                std::thread::sleep(Duration::from_millis(10));
            }
            mount(&view, size, "remount,");
            stored = recovers(&api, stored)?;
        }
        nothing_is_lost(server, &data, stored)
    })
}

#[test]
fn a_backup_on_a_full_disk_fails_and_leaves_those_before() -> anyhow::Result<()> {
    with_own_mounts("a_backup_on_a_full_disk_fails_and_leaves_those_before", || {
        let dir = tempfile::tempdir()?;
        let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
        std::fs::create_dir(&backups)?;
        mount(&backups, 16 * MIB, "");
        let server = ServerProcess::start_with(&data, "127.0.0.1:0", ARGUMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        let back_up = || {
            let mut command = server_command(&["backup"]);
            command.arg("--data-dir").arg(&data).arg("--to").arg(&backups);
            command
        };
        for number in 1..=10 {
            assert_eq!(publish(&api, number)?, Ok(number));
        }
        ok(&mut back_up());
        for number in 11..=400 {
            assert_eq!(publish(&api, number)?, Ok(number));
        }
        for _ in 0..2 {
            let error = failed(&mut back_up());
            assert!(
                error.contains("No space left") && error.contains("free space and run it again"),
                "{error}"
            );
            let checked = ok(server_command(&["verify"]).arg("--backups").arg(&backups));
            assert!(checked.starts_with("backup 1 ") && !checked.contains("backup 2"), "{checked}");
        }
        assert_eq!(publish(&api, 401)?, Ok(401), "the server does not notice");
        mount(&backups, 200 * MIB, "remount,");
        ok(&mut back_up());
        ok(server_command(&["verify"]).arg("--backups").arg(&backups));
        let exported = ok(server_command(&["export"]).arg("--backups").arg(&backups));
        assert_eq!(exported.lines().count(), 401);
        nothing_is_lost(server, &data, 401)
    })
}
