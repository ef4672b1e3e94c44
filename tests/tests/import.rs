//! `quoth import` and `quoth history`: every line of every log comes back byte for byte and in order, before
//! and after a crash, and a repeated import writes nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use quoth_tests::process::{ServerProcess, binary};
use serde_json::Value;

/// Real logs lie beside the project; without them, logs made here with the same oddities.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/irc");
    let folder = if real.is_dir() { real } else { made_logs(dir) };
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.to_string_lossy().ends_with(".raw.txt")).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn made_logs(dir: &Path) -> PathBuf {
    let folder = dir.join("logs");
    std::fs::create_dir(&folder).unwrap();
    for day in 10..20 {
        let mut text = String::from("=== ada [~a@host] has joined #quoth\n\n");
        for i in 0..500 {
            text.push_str(&format!(
                "[{:02}:{:02}] <ada{}>  ünï {i} \u{2}bold\u{2} \n",
                i / 60 + 8,
                i % 60,
                i % 7
            ));
            text.push_str("[12:00] <empty>\n[12:00]  * ada waves\n");
        }
        std::fs::write(folder.join(format!("2004-12-{day}.made.raw.txt")), text).unwrap();
    }
    folder
}

/// What the issue of importing promises, told without the importer's code: a said line is its nick and its
/// text, and every other line is itself.
fn expected(line: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let has_time = line.len() > 9 && line[0] == b'[' && line[3] == b':' && line[6..9] == *b"] <";
    if has_time && let Some(end) = line[9..].windows(2).position(|pair| pair == b"> ") {
        let nick = &line[9..9 + end];
        if !nick.is_empty() && nick.len() <= 64 && !nick.contains(&b'>') {
            return (Some(nick), &line[9 + end + 2..]);
        }
    }
    (None, line)
}

fn quoth(server: &ServerProcess, token: &str, arguments: &[&str]) -> Vec<u8> {
    let address = server.address().to_string();
    let mut command = Command::new(binary("quoth"));
    command.args(["--server", &address, "--token", token, "--ca"]).arg(server.ca_file()).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn check_history(server: &ServerProcess, files: &[PathBuf]) -> usize {
    let token = server.token("alice").unwrap();
    let mut count = 0;
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().replace(".raw.txt", "");
        let out = quoth(server, &token, &["history", &name, "--all", "--json"]);
        let mut got: Vec<Value> = out.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(parse).collect();
        let end = got.pop().unwrap();
        assert_eq!(end["history"]["complete"], true, "{name}: {end}");
        let text = std::fs::read(file).unwrap();
        let lines: Vec<&[u8]> = text.strip_suffix(b"\n").unwrap_or(&text).split(|b| *b == b'\n').collect();
        assert_eq!(got.len(), lines.len(), "{name}");
        for (i, (event, line)) in got.iter().zip(&lines).enumerate() {
            let (nick, body) = expected(line);
            assert_eq!(event["seq"], i + 1, "{name}");
            assert_eq!(event["body"].as_str().map(str::as_bytes), Some(body), "{name} line {}", i + 1);
            let sender = nick.unwrap_or(b"*");
            assert_eq!(event["sender"].as_str().map(str::as_bytes), Some(sender), "{name} line {}", i + 1);
        }
        count += lines.len();
    }
    count
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

#[test]
fn every_line_comes_back_before_and_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let files = logs(dir.path());
    let server = ServerProcess::start(&data).unwrap();
    let service = server.token("service_token").unwrap();
    let mut arguments = vec!["import"];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    print!("{}", String::from_utf8_lossy(&quoth(&server, &service, &arguments)));
    let count = check_history(&server, &files);
    server.kill().unwrap();

    let server = ServerProcess::start(&data).unwrap();
    assert_eq!(check_history(&server, &files), count);
    let again = String::from_utf8(quoth(&server, &service, &arguments)).unwrap();
    let expected = format!("{} logs, {count} messages ({count} were already there)", files.len());
    assert!(again.starts_with(&expected), "{again}");
    assert_eq!(check_history(&server, &files), count);
    assert!(server.terminate().unwrap().success());
}
