//! The chat page in real Chromium against real servers: `tests/browser/*.test.mjs` have the cases, here they
//! are run.

use std::path::Path;
use std::process::Command;

use quoth_tests::process::binary;

#[test]
fn people_chat_in_browsers_and_terminals() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let bin_dir = binary("quoth-server").parent().expect("a file is in a folder").to_owned();
    let output = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(
            ["chat.test.mjs", "members.test.mjs", "messages.test.mjs", "retention.test.mjs"]
                .map(|name| folder.join(name)),
        )
        .env("QUOTH_BIN_DIR", bin_dir)
        .output()
        .expect("node, which tests/run installs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
