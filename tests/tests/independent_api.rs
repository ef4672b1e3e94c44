//! The server API and its webhooks, judged by programs of others: requests that are made from the document it
//! serves, and the signature as `docs/OPERATIONS.md` says how to verify it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::Api;
use quoth_tests::independent::{python, python_program};
use quoth_tests::process::ServerProcess;
use serde_json::json;

/// Requests for each operation, and the seed that they are made with: the same ones each time.
const REQUESTS: &str = "60";
const SEED: &str = "1";

/// What is not asked of it: that whatever fits the schema is taken. JSON Schema counts characters where names
/// are counted in bytes, and cannot say that of two parameters only one may be given. Nor that nothing is there behind a
/// DELETE: a conversation whose own retention is taken back is kept as its class says, which GET tells.
const NOT_ASKED: &str = "positive_data_acceptance,use_after_free";

/// How what does not fit the schema may be refused. Its own list lacks 413, which says of a text that it is
/// too long.
const REFUSALS: &str = "[checks.negative_data_rejection]\n\
                        expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, \"5xx\"]\n";

#[test]
fn no_request_has_an_answer_outside_of_the_document() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let url = format!("http://{}", api.address);
    let settings = tempfile::tempdir()?;
    std::fs::write(settings.path().join("schemathesis.toml"), REFUSALS)?;
    let output = Command::new(python_program("schemathesis"))
        .current_dir(settings.path())
        .args(["run", &format!("{url}/v1/openapi.json"), "--url", &url])
        .args(["--header", &format!("Authorization: Bearer {}", api.key)])
        .args(["--checks", "all", "--exclude-checks", NOT_ASKED, "--continue-on-failure"])
        .args(["--max-examples", REQUESTS, "--seed", SEED, "--generation-database", "none", "--no-color"])
        .output()
        .context("schemathesis runs")?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{}: {text}", output.status);
    // It has found the operations, and tested all but the one that has told it of them.
    let document = Api { key: String::new(), ..api }.done("GET", "/v1/openapi.json", None)?;
    let methods = |path: &serde_json::Value| path.as_object().map_or(0, serde_json::Map::len);
    let count: usize = document["paths"].as_object().context("no paths")?.values().map(methods).sum();
    let count = count - 1;
    assert!(text.contains(&format!("Selected: {count}/{count}")), "{count}: {text}");
    server.stop()
}

/// A program that ends with the test, however that ends.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_signature_is_verified_as_the_text_says() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let secret = data.join("keys/hooks.secret");
    let mut backend = Killed(python("webhook.py").arg(&secret).stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(backend.0.stdout.take().context("a pipe")?).lines();
    let mut line = || lines.next().context("the backend has ended")?.map_err(anyhow::Error::from);
    let port = line()?;
    let set = |key: &str| format!("hooks.{key}=http://127.0.0.1:{port}/");
    // Long, so that a machine that is busy with something else is no refusal.
    let settings = ["--set", &set("publish"), "--set", &set("events_url"), "--set", "hooks.timeout_ms=30000"];
    let server = ServerProcess::start_with(&data, "127.0.0.1:0", &settings)?;
    let api = Api::told(&server.client_file()?)?;
    api.done("POST", "/v1/publish", Some(&json!({ "conversation": "general", "text": "h\u{e9}llo" })))?;
    assert_eq!(line()?, "True False", "the signature is good, and none of the forged ones");
    Ok(())
}
