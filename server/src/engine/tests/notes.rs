//! What the server itself keeps.

use bytes::Bytes;
use quoth_protocol::ConversationName;
use quoth_store::{Options, Register, Store};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Engine, Execution, SystemClock};
use quoth_protocol::frame::Durability;

#[tokio::test]
async fn what_is_noted_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(Options::new(dir.path().join("store"))).unwrap();
    let start = || Engine::start(open(), Durability::Stored, Arc::new(SystemClock), Execution::Threads);
    let (engine, stopper) = start();
    let register = |key: &'static str, value: Option<&'static str>| Register {
        key: key.into(),
        value: value.map(Into::into),
    };
    let server = ConversationName::server;
    let all = |engine: Engine| async move {
        let read = engine.registers(server(), b"k", 10);
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("it comes").unwrap()
    };
    let pair = |key: &'static str, value: &'static str| (Bytes::from(key), Bytes::from(value));
    for n in 0..100 {
        let other = ConversationName::new(format!("$user/{n}")).unwrap();
        engine.note(other, vec![register("k", Some("v"))]).await.unwrap();
    }
    engine.note(server(), vec![register("k1", Some("a")), register("k2", Some("b"))]).await.unwrap();
    engine.note(server(), vec![register("k1", None), register("k3", Some("c"))]).await.unwrap();
    let expected = [pair("k2", "b"), pair("k3", "c")];
    assert_eq!(all(engine.clone()).await, expected);
    drop(engine);
    tokio::task::spawn_blocking(move || stopper.stop()).await.unwrap().unwrap();
    let (engine, stopper) = start();
    assert_eq!(all(engine.clone()).await, expected);
    drop(engine);
    tokio::task::spawn_blocking(move || stopper.stop()).await.unwrap().unwrap();
}
