//! Questions to a backend that answers, slowly.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::future::join_all;
use quoth_protocol::UserId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::backend::Backend;
use super::settings::{HookConfig, HooksConfig, OnFailure};
use super::signature::Signer;
use super::{Hook, Hooks, Judgement};
use crate::outbound::Client;

/// How long the backend takes, and how long it may.
const TAKES: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Questions that have come, each with the word to answer it.
type Asked = mpsc::UnboundedReceiver<oneshot::Sender<()>>;

/// Answers each question with a no, one after the other on each connection, and none before it is let.
async fn deny(mut tcp: TcpStream, asked: mpsc::UnboundedSender<oneshot::Sender<()>>) {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        let length = text.split_once("\r\n\r\n").map(|(head, body)| {
            let length = head.split_once("content-length: ").unwrap().1.lines().next().unwrap();
            (length.parse::<usize>().unwrap(), body.len())
        });
        if length.is_some_and(|(length, come)| come >= length) {
            let (let_it, may_answer) = oneshot::channel();
            asked.send(let_it).unwrap();
            may_answer.await.unwrap();
            let answer = r#"{"result":"deny","reason":"no"}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
            tcp.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
            request.clear();
            continue;
        }
        let mut read = [0; 4_096];
        match tcp.read(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(count) => request.extend_from_slice(&read[..count]),
        }
    }
}

/// Lets each question be answered after the time that the backend takes. It passes for nothing else, however
/// slow the machine is: the clock would go on by itself only where nobody has anything to do.
async fn take_time(asked: &mut Asked) -> Infallible {
    loop {
        match asked.try_recv() {
            Ok(let_it) => {
                tokio::time::advance(TAKES).await;
                let _nobody_waits_for_it = let_it.send(());
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn hook(requests_max: usize) -> (Hook, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (asked, questions) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(deny(tcp, asked.clone()));
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("hooks.secret");
    std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
    let backend = Backend { client: Client::new(None).unwrap(), signer: Signer::load(&secret).unwrap() };
    let publish = HookConfig { url: Some(url.parse().unwrap()), on_failure: OnFailure::Allow };
    let timeout_ms = u64::try_from(TIMEOUT.as_millis()).unwrap();
    let config = HooksConfig { publish, timeout_ms, requests_max, ..HooksConfig::default() };
    (Hooks::new(&config, &backend).publish.unwrap(), questions)
}

fn data() -> Value {
    json!({})
}

/// Two users ask for longer than a backend may take for one answer, and nothing is let through for that.
#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_is_no_failure_of_the_backend() {
    let (hook, mut asked) = hook(1).await;
    let [alice, bob] = ["alice", "bob"].map(|id| UserId::new(id).unwrap());
    let rounds = 2 * usize::try_from(TIMEOUT.as_millis() / TAKES.as_millis()).unwrap();
    let questions = (0..rounds).map(|n| hook.ask(if n % 2 == 0 { &alice } else { &bob }, data));
    let judgements = tokio::select! {
        judgements = join_all(questions) => judgements,
        never = take_time(&mut asked) => match never {},
    };
    assert!(
        judgements.iter().all(|judgement| *judgement == Judgement::Deny("no".to_owned())),
        "{judgements:?}"
    );
    assert!(hook.0.breaker.lock().is_closed());
}

/// Who gets no place is to come back, also where everything is let through without an answer.
#[tokio::test(start_paused = true)]
async fn who_gets_no_place_is_let_through_by_nothing() {
    let (hook, _asked) = hook(1).await;
    let [alice, bob] = ["alice", "bob"].map(|id| UserId::new(id).unwrap());
    let _held = hook.place(&alice).await;
    for _ in 0..10 {
        assert!(matches!(hook.ask(&bob, data).await, Judgement::Unavailable { retry_after_ms: 1.., .. }));
    }
    assert!(hook.0.breaker.lock().is_closed());
}
