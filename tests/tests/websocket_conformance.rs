//! RFC 6455 as the Autobahn cases have it, judged by `kosoku`: against a server that is known to be good, to
//! know the judge; against the server's socket with an echo behind it, since echoes are what the cases want;
//! and against the server itself.

#[path = "websocket_conformance/echo.rs"]
mod echo;

use echo::EchoServer;
use quoth_tests::independent::{add_server, assert_passes, python};
use quoth_tests::process::ServerProcess;

#[test]
fn the_judge_finds_in_a_good_server_what_is_known() {
    assert_passes(python("conformance.py").arg("known"));
}

#[test]
fn the_socket_conforms_with_an_echo_behind_it() {
    let echo = EchoServer::start().unwrap();
    assert_passes(python("conformance.py").args(["echo", "--server", &echo.address.to_string()]));
}

#[test]
fn the_server_conforms_as_far_as_cases_go_without_an_echo() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    for subprotocol in ["quoth.v1.json", "quoth.v1.postcard"] {
        let mut conformance = python("conformance.py");
        conformance.args(["session", "--subprotocol", subprotocol]);
        assert_passes(add_server(&mut conformance, &server));
    }
}
