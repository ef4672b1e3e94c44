//! A client that was written from `docs/PROTOCOL.md` alone, in another language and on another QUIC stack,
//! against the real server.

use quoth_tests::independent::{add_server, assert_passes, python, token};
use quoth_tests::process::ServerProcess;

#[test]
fn its_codec_agrees_with_the_golden_bytes() {
    assert_passes(&mut python("check_golden.py"));
}

#[test]
fn it_signs_in_sends_resumes_and_reads() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let mut scenario = python("scenario.py");
    scenario.args(["--token", &token(&data, "carol"), "--second-token", &token(&data, "dave")]);
    scenario.args(["--conversation", "independent-1", "--forbidden", "secret"]);
    assert_passes(add_server(&mut scenario, &server));
}
