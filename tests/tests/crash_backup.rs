//! Backups of a real server: under load, killed in the middle, restored, and every command that
//! docs/OPERATIONS.md has of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use quoth_tests::command::{documented, failed, ok, server_command};
use quoth_tests::history::What;
use quoth_tests::http::Api;
use quoth_tests::process::{ServerProcess, binary};
use quoth_tests::under_kills::{HANG, SMALL_SEGMENTS, World, trimmed};
use serde_json::{Value, json};

/// The bodies of each conversation, of an export.
fn exported(jsonl: &str) -> BTreeMap<String, Vec<Value>> {
    let mut conversations: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in jsonl.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let conversation = line["conversation"].as_str().unwrap().to_owned();
        conversations.entry(conversation).or_default().push(line["event"].clone());
    }
    conversations
}

/// The highest seq of each conversation that was acked by now.
fn acked(world: &quoth_tests::load::Recorder) -> BTreeMap<String, u64> {
    let mut acked = BTreeMap::new();
    for step in world.steps() {
        if let What::Acked { ack, .. } = step.what {
            let last = acked.entry(step.conversation.to_string()).or_insert(0);
            *last = ack.seq.0.max(*last);
        }
    }
    acked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_server_under_load_has_everything_that_was_acked_before() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    let (data, backups) = (path("data"), path("backups"));
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", SMALL_SEGMENTS)?;
    let load = World::new(rand::random()).start(&server).await?;
    let mut told = Vec::new();
    for _ in 0..2 {
        trimmed(&data).await;
        load.acked(500).await?;
        told.push(acked(load.recorder()));
        let (data, backups) = (data.clone(), backups.clone());
        let made = tokio::task::spawn_blocking(move || {
            ok(server_command(&["backup"]).arg("--data-dir").arg(data).arg("--to").arg(backups))
        });
        println!("{}", tokio::time::timeout(HANG, made).await??);
    }
    // The running server's store, pinned for the export.
    let running = exported(&ok(server_command(&["export"]).arg("--data").arg(&data)));
    for (name, last) in &told[1] {
        assert!(running[name].len() as u64 >= *last, "{name}: {} of {last}", running[name].len());
    }
    server.kill()?;
    drop(load.end().await);
    println!("{}", ok(server_command(&["verify"]).arg("--backups").arg(&backups)));
    let all = exported(&ok(server_command(&["export"]).arg("--data-dir").arg(&data)));
    for (number, told) in ["1", "2"].into_iter().zip(&told) {
        let restored = path(&format!("restored {number}"));
        let mut restore = server_command(&["restore", "--backup", number]);
        println!("{}", ok(restore.arg("--from").arg(&backups).arg("--data-dir").arg(&restored)));
        ok(server_command(&["verify"]).arg("--data-dir").arg(&restored));
        let has = exported(&ok(server_command(&["export"]).arg("--data-dir").arg(&restored)));
        for (name, last) in told {
            assert!(
                has[name].len() as u64 >= *last,
                "backup {number}: {name} has {} of {last}",
                has[name].len()
            );
            assert_eq!(has[name][..], all[name][..has[name].len()], "backup {number}: {name}");
        }
        let server = ServerProcess::start(&restored)?;
        let api = Api::told(&server.client_file()?)?;
        let page = api.done("GET", "/v1/conversations/shared-1/history?after=0&limit=1", None)?;
        assert_eq!(page["head"], json!(has["shared-1"].len()));
        assert!(server.terminate()?.success());
    }
    // What an earlier backup has is there once.
    let objects: u64 = std::fs::read_dir(backups.join("objects"))?
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    let mut of_both = 0;
    for manifest in std::fs::read_dir(backups.join("backups"))? {
        let text = std::fs::read_to_string(manifest?.path())?;
        let manifest: Value = serde_json::from_str(text.lines().nth(1).expect("behind its checksum"))?;
        of_both += manifest["files"]
            .as_array()
            .expect("files")
            .iter()
            .filter_map(|file| file["bytes"].as_u64())
            .sum::<u64>();
    }
    println!("{objects} bytes of objects for {of_both} of both");
    assert!(objects < of_both, "{objects} bytes of objects for {of_both}");
    Ok(())
}

/// `quoth-server` below strace, which kills it at the call of this number, of some kind, that has to do with
/// some path.
fn killed_at(call: &str, number: usize, path: Option<&Path>) -> Vec<String> {
    let mut strace: Vec<_> =
        ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e"].map(str::to_owned).to_vec();
    strace.push(format!("trace={call}"));
    if let Some(path) = path {
        strace.extend(["-P".to_owned(), path.display().to_string()]);
    }
    strace.extend(["-e".to_owned(), format!("inject={call}:signal=KILL:when={number}")]);
    strace
}

/// Messages of a conversation, from the first one on; gives their number.
fn publish(api: &Api, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    for number in numbers {
        let body =
            json!({ "conversation": "general", "text": format!("message {number} {}", "x".repeat(30_000)) });
        let stored = api.done("POST", "/v1/publish", Some(&body))?;
        anyhow::ensure!(stored["seq"] == json!(number), "{stored}");
    }
    Ok(())
}

/// Waits until nothing is pinned: a server notices by itself that a command was killed.
fn unpinned(data: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    while std::fs::read_dir(data.join("store/pins"))?.next().is_some() {
        anyhow::ensure!(began.elapsed() < HANG, "pins of a killed command stay");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn a_backup_that_is_killed_anywhere_leaves_those_before_and_the_next_one_is_whole() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = |name: &str| dir.path().join(name);
    let (data, backups) = (path("data"), path("backups"));
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", SMALL_SEGMENTS)?;
    let api = Api::told(&server.client_file()?)?;
    let back_up = |command: &mut Command| -> Output {
        command.args(["backup", "--data-dir"]).arg(&data).arg("--to").arg(&backups).output().unwrap()
    };
    publish(&api, 1..200)?;
    let first = back_up(&mut server_command(&[]));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    let (mut made, mut next, mut kills) = (1, 200, 0);
    // Before the first and behind many flushes, when an object has been written, at renames of objects and of
    // the manifest, and at its folder's flush.
    for (call, number) in [
        ("fsync", 1),
        ("fsync", 4),
        ("ftruncate", 1),
        ("rename", 1),
        ("rename", 3),
        ("fsync", 9),
        ("fsync", 14),
        ("rename", 9),
    ] {
        publish(&api, next..next + 40)?;
        next += 40;
        let strace = killed_at(call, number, None);
        let ended = back_up(Command::new(&strace[0]).args(&strace[1..]).arg(binary("quoth-server")));
        let text = ok(server_command(&["verify"]).arg("--backups").arg(&backups));
        let count = text.lines().filter(|line| line.starts_with("backup ")).count();
        let is_killed = !ended.status.success();
        kills += u32::from(is_killed);
        // How many objects a backup has is the view's pace: at the last flush its manifest has its name, and
        // what was killed there is whole.
        let expected = if is_killed { made..=made + 1 } else { made + 1..=made + 1 };
        assert!(expected.contains(&count), "{call} {number}, behind {made}: {text}");
        made = count;
        unpinned(&data)?;
    }
    assert!(kills >= 5, "{kills} kills");
    let last = back_up(&mut server_command(&[]));
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    server.kill()?;
    ok(server_command(&["restore"]).arg("--from").arg(&backups).arg("--data-dir").arg(path("restored")));
    let has = exported(&ok(server_command(&["export"]).arg("--data-dir").arg(path("restored"))));
    assert_eq!(has["general"].len() as u64, next - 1);
    Ok(())
}

/// Backups that go with what they are of are none; whoever names such a folder by mistake is told before it is made.
#[test]
fn a_backup_into_its_own_data_folder_is_refused_and_nothing_is_written() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, link) = (dir.path().join("data"), dir.path().join("link"));
    std::os::unix::fs::symlink(&data, &link)?;
    let refused = |to: &Path| {
        let mut command = server_command(&["backup"]);
        let output = command.arg("--data-dir").arg(&data).arg("--to").arg(to).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("lies in the data folder") && told.contains("elsewhere with --to"), "{told}");
    };
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", SMALL_SEGMENTS)?;
    refused(&data.join("backups"));
    assert!(!data.join("store/pins").exists(), "nothing is pinned for it");
    assert!(server.terminate()?.success());
    let names = || -> anyhow::Result<Vec<PathBuf>> {
        let mut names: Vec<_> =
            std::fs::read_dir(&data)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = names()?;
    for to in [data.clone(), data.join("store"), link.join("new/backups"), link] {
        refused(&to);
    }
    assert_eq!(names()?, before);
    Ok(())
}

#[test]
fn a_server_that_is_killed_while_it_pins_its_store_comes_back_without_the_pin() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
    let server = ServerProcess::start_below(&killed_at("linkat", 3, None), &data, SMALL_SEGMENTS)?;
    publish(&Api::told(&server.client_file()?)?, 1..300)?;
    let text = failed(server_command(&["backup"]).arg("--data-dir").arg(&data).arg("--to").arg(&backups));
    assert!(text.contains("server"), "{text}");
    drop(server);
    assert!(std::fs::read_dir(data.join("store/pins"))?.count() > 0, "it was killed in the middle");
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", SMALL_SEGMENTS)?;
    assert!(!data.join("store/pins").exists());
    publish(&Api::told(&server.client_file()?)?, 300..310)?;
    ok(server_command(&["backup"]).arg("--data-dir").arg(&data).arg("--to").arg(&backups));
    ok(server_command(&["verify"]).arg("--backups").arg(&backups));
    assert!(server.terminate()?.success());
    Ok(())
}

/// In the middle of a seal: the next segment's header is written, and it has no name yet; it has one, and
/// that is not flushed.
#[test]
fn a_server_that_is_killed_while_the_log_goes_on_in_a_new_segment_has_what_was_acked() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let log = data.join("store").join("log");
    let mut acked = 0;
    for (call, number, name) in
        [("rename", 1, "1.spare"), ("fdatasync", 1, "2.spare"), ("fsync", 3, ""), ("rename", 1, "3.spare")]
    {
        let strace = killed_at(call, number, Some(&log.join(name)));
        let server = ServerProcess::start_below(&strace, &data, SMALL_SEGMENTS)?;
        let api = Api::told(&server.client_file()?)?;
        let page = api.done("GET", "/v1/conversations/general/history?limit=1", None)?;
        let stored = page["head"].as_u64().unwrap_or_default();
        assert!(stored == acked || stored == acked + 1, "{stored} are stored, {acked} were acked");
        acked = stored;
        while publish(&api, acked + 1..acked + 2).is_ok() {
            acked += 1;
            assert!(acked < 5_000, "{call} {number} of {name} never came");
        }
        drop(server);
        ok(server_command(&["verify"]).arg("--data-dir").arg(&data));
    }
    let has = exported(&ok(server_command(&["export"]).arg("--data-dir").arg(&data)));
    for (number, event) in (1..).zip(&has["general"]) {
        let body = event["kind"]["message"]["body"].as_str().unwrap();
        assert!(body.starts_with(&format!("message {number} ")), "{number}");
    }
    assert!(has["general"].len() as u64 >= acked);
    Ok(())
}

/// Every command of the documentation about backups, in its order, on a folder of this test's.
#[test]
fn the_documented_commands_do_what_they_say() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let place = |line: &str| {
        let line = line.replace("/var/lib/quoth", &dir.path().join("data").display().to_string());
        let line = line.replace("/mnt/backups/quoth", &dir.path().join("backups").display().to_string());
        line.replace("quoth-server", &binary("quoth-server").display().to_string())
    };
    let server = ServerProcess::start(&dir.path().join("data"))?;
    let api = Api::told(&server.client_file()?)?;
    for conversation in ["general", "team-red"] {
        let body = json!({ "conversation": conversation, "text": "hello" });
        api.done("POST", "/v1/publish", Some(&body))?;
    }
    let commands = documented("## Backups");
    assert!(commands.len() >= 7, "{commands:?}");
    let mut server = Some(server);
    for command in &commands {
        // Of the store in place the server must not have it.
        if command.contains("verify --data-dir") {
            server.take().map(ServerProcess::terminate).transpose()?;
        }
        let mut shell = Command::new("sh");
        println!("$ {command}\n{}", ok(shell.args(["-c", &place(command)]).current_dir(dir.path())));
    }
    let teams = std::fs::read_to_string(dir.path().join("teams.jsonl"))?;
    assert_eq!(exported(&teams).keys().collect::<Vec<_>>(), ["team-red"]);
    let server = ServerProcess::start(&dir.path().join("data-new"))?;
    let api = Api::told(&server.client_file()?)?;
    let page = api.done("GET", "/v1/conversations/general/history", None)?;
    assert_eq!(page["events"][0]["kind"]["message"]["body"], "hello");
    Ok(())
}

#[test]
fn what_the_classes_of_the_last_start_make_absent_is_in_no_export() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server =
        ServerProcess::start_with(&data, "127.0.0.1:0", &["--set", "retention.classes=all:*:count=5"])?;
    publish(&Api::told(&server.client_file()?)?, 1..9)?;
    let count = |classes: &[&str]| {
        let jsonl = ok(server_command(&["export", "--data-dir"]).arg(&data).args(classes));
        exported(&jsonl)["general"].len()
    };
    // Whether its configuration is at hand or not, and also once it has stopped.
    assert_eq!(count(&[]), 5);
    assert_eq!(count(&["--set", "retention.classes=all:*:count=7"]), 5);
    assert_eq!(count(&["--set", "retention.classes=all:*:count=2"]), 2);
    assert!(server.terminate()?.success());
    assert_eq!((count(&[]), count(&["--raw"])), (5, 8));
    Ok(())
}

#[test]
fn an_export_has_what_readers_get_and_a_file_of_its_own() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, file) = (dir.path().join("data"), dir.path().join("all.jsonl"));
    let server = ServerProcess::start(&data)?;
    let api = Api::told(&server.client_file()?)?;
    publish(&api, 1..401)?;
    let export = |more: &[&str]| {
        let mut command = server_command(&["export"]);
        command.arg("--data-dir").arg(&data).args(more);
        command
    };
    let latest = ["--set", "retention.classes=all:*:count=2"];
    let seqs = |jsonl: &str| -> Vec<u64> {
        exported(jsonl)["general"].iter().filter_map(|event| event["seq"].as_u64()).collect()
    };
    assert_eq!(seqs(&ok(&mut export(&latest))), [399, 400]);
    assert_eq!(seqs(&ok(export(&latest).arg("--raw"))), (1..401).collect::<Vec<_>>());
    // A file is there when it is whole, and its owner's alone.
    ok(export(&latest).arg("--to").arg(&file));
    assert_eq!(seqs(&std::fs::read_to_string(&file)?), [399, 400]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file)?.permissions());
    assert_eq!(mode & 0o777, 0o600);
    // One for which there is no room leaves nothing.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""]).arg(binary("quoth-server"));
    limited.args(["export", "--data-dir"]).arg(&data).arg("--to").arg(path_in(&dir, "no room"));
    let no_room = failed(&mut limited);
    assert!(no_room.contains("cannot be written") && no_room.contains("is not all of it"), "{no_room}");
    assert!(!path_in(&dir, "no room").exists(), "half an export");
    let again = failed(export(&[]).arg("--to").arg(&file));
    assert!(again.contains("is there already") && again.contains("delete it"), "{again}");
    let none = failed(
        export(&["--conversation", "genral", "--conversation", "gen*"]).arg("--to").arg(path_in(&dir, "a")),
    );
    assert!(none.contains("genral") && !none.contains("gen*"), "{none}");
    assert_eq!(seqs(&std::fs::read_to_string(path_in(&dir, "a"))?).len(), 400, "what there is is written");
    // Behind damage it goes on.
    assert!(server.terminate()?.success());
    // Where the view was flushed in between, its rows are in several tables.
    let mut tables = Vec::new();
    files(&data.join("store/view"), &mut tables);
    tables.retain(|path| path.parent().is_some_and(|dir| dir.ends_with("tables")));
    let text = b"message 200 ";
    let place = tables.iter().find_map(|table| {
        let bytes = std::fs::read(table).ok()?;
        let at = bytes.windows(text.len()).position(|window| window == text)?;
        Some((table, bytes, at))
    });
    let (table, mut bytes, at) = place.expect("a table that has it, and not compressed");
    bytes[at + 20] ^= 1;
    std::fs::write(table, bytes)?;
    let damaged = failed(export(&[]).arg("--to").arg(path_in(&dir, "b")));
    assert!(
        damaged.contains("were not written of general") && damaged.contains("all else was written"),
        "{damaged}"
    );
    let had = seqs(&std::fs::read_to_string(path_in(&dir, "b"))?);
    assert!(had.contains(&1) && had.contains(&400) && !had.contains(&200) && had.len() > 200, "{had:?}");
    let left = std::fs::read_dir(dir.path())?.filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".new"))
    });
    assert_eq!(left.count(), 0);
    Ok(())
}

fn path_in(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

/// All files below a folder.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn mistakes_are_told_and_change_nothing() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data, backups) = (dir.path().join("data"), dir.path().join("backups"));
    let none = failed(server_command(&["backup"]).arg("--data-dir").arg(&data).arg("--to").arg(&backups));
    assert!(none.contains("is not there: name the data folder of a server"), "{none}");
    let none = failed(
        server_command(&["restore"])
            .arg("--data-dir")
            .arg(&data)
            .arg("--from")
            .arg(dir.path().join("nothing")),
    );
    assert!(none.contains("is not there: name a folder that has backups"), "{none}");
    let server = ServerProcess::start(&data)?;
    let verified =
        ok(server_command(&["backup", "--verify"]).arg("--data-dir").arg(&data).arg("--to").arg(&backups));
    assert!(verified.contains("the store of backup 1:") && verified.ends_with("sound\n"), "{verified}");
    let tried = |to: &Path| {
        let mut command = server_command(&["restore", "--dry-run"]);
        command.arg("--data-dir").arg(to).arg("--from").arg(&backups);
        command
    };
    let would = ok(&mut tried(&dir.path().join("new")));
    assert!(would.starts_with("backup 1 would be restored in "), "{would}");
    assert!(!dir.path().join("new").exists(), "nothing is written");
    let over = failed(&mut tried(&data));
    assert!(over.contains("is not empty"), "{over}");
    let over = failed(server_command(&["restore"]).arg("--data-dir").arg(&data).arg("--from").arg(&backups));
    assert!(over.contains("is not empty"), "{over}");
    let missing = failed(
        server_command(&["restore", "--backup", "7"])
            .arg("--data-dir")
            .arg(dir.path().join("new"))
            .arg("--from")
            .arg(&backups),
    );
    assert!(missing.contains("no backup of number 7"), "{missing}");
    assert!(!backups.join("backups/000001.json").metadata()?.permissions().readonly());
    let keys: Vec<_> = std::fs::read_to_string(backups.join("backups/000001.json"))?
        .matches("keys/")
        .map(str::to_owned)
        .collect();
    assert_eq!(keys, [""; 0], "no key is backed up unasked");
    ok(server_command(&["backup", "--keys"]).arg("--data-dir").arg(&data).arg("--to").arg(&backups));
    assert!(std::fs::read_to_string(backups.join("backups/000002.json"))?.contains("keys/endpoint.key"));
    assert!(server.terminate()?.success());
    assert!(!data.join("control.sock").exists());
    Ok(())
}
