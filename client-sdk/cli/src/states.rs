//! What a client is told of its connection: that there is none yet, that it was lost and found again, and
//! what is waited for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quoth_client::protocol::Action;
use quoth_client::{Client, Code, Reason, State, Transport};
use tokio::time::timeout;

use crate::hint::Situation;
use crate::output::note;
use crate::token_file::TokenFile;

/// How long to connect in silence.
const SILENT_CONNECT: Duration = Duration::from_secs(2);

/// Why no token of a file was good yet, while a client tries to connect with it.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    /// Where a token is looked for.
    pub(crate) token_file: TokenFile,
    last: Arc<Mutex<Option<Reason>>>,
}

impl Refusals {
    pub(crate) fn of(token_file: TokenFile) -> Self {
        Self { token_file, last: Arc::default() }
    }

    /// Says it on standard error.
    pub(crate) fn tell(&self, reason: &Reason) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Every attempt ends so: only what is new is told.
        if is_of_the_token(reason) && last.replace(reason.clone()).as_ref() != Some(reason) {
            note(format_args!(
                "* not signed in: {reason}; {}",
                waiting_for(reason, Some(self.token_file.path()))
            ));
        }
    }

    fn is_any(&self) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// Whether another token may be what is missing.
fn is_of_the_token(reason: &Reason) -> bool {
    match reason {
        Reason::Code { code, .. } => code.action() == Action::Reauthenticate,
        Reason::Token(_) => true,
        _ => false,
    }
}

/// What a client that tries again waits for.
fn waiting_for(reason: &Reason, token_file: Option<&Path>) -> String {
    match (reason, token_file) {
        (_, Some(file)) if is_of_the_token(reason) => {
            format!("waiting for another token in {}", file.display())
        }
        (Reason::Code { .. }, _) if is_of_the_token(reason) => "trying again with another token".to_owned(),
        _ => "trying again until the server is back".to_owned(),
    }
}

/// Says on standard error what is waited for when connecting takes a while, unless a refusal has said so.
pub(crate) async fn telling_wait<T>(
    server: &str,
    refusals: Option<&Refusals>,
    connecting: impl Future<Output = T>,
) -> T {
    let mut connecting = std::pin::pin!(connecting);
    match timeout(SILENT_CONNECT, connecting.as_mut()).await {
        Ok(connected) => connected,
        Err(_) => {
            let has_answered = refusals.is_some_and(Refusals::is_any);
            if !has_answered {
                note(format_args!("* no connection to {server} yet, still trying"));
            }
            connecting.await
        }
    }
}

/// Until the token that the client is signed in with is withdrawn, and its file has no other one: why.
pub(crate) async fn withdrawn(client: &Client, file: Option<&TokenFile>) -> Reason {
    let mut states = client.states();
    loop {
        if let State::Disconnected { reason, .. } = &*states.borrow_and_update()
            && matches!(reason, Reason::Code { code: Code::TOKEN_REVOKED, .. })
            && !file.is_some_and(TokenFile::has_another)
        {
            return reason.clone();
        }
        if states.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Does `work`, and tells meanwhile with `say` when the connection is lost and found again.
pub(crate) async fn telling_states<T>(
    client: &Client,
    situation: &Situation<'_>,
    say: impl Fn(&str),
    work: impl Future<Output = T>,
) -> T {
    let states = async {
        tell_states(client, situation.token_file.as_ref().map(TokenFile::path), &say).await;
        // The end of the work says why.
        std::future::pending().await
    };
    let done = tokio::select! {
        done = work => done,
        never = states => never,
    };
    if matches!(client.state(), State::Closed { reason: Reason::Code { code: Code::REPLACED, .. } }) {
        say("* this device has connected anew elsewhere, and goes on there");
    }
    done
}

/// How a line says what carries the connection: only what is not as usual.
pub(crate) fn over(client: &Client) -> &'static str {
    if client.transport() == Some(Transport::WebSocket) { ", over WebSocket" } else { "" }
}

/// Until the client is closed.
async fn tell_states(client: &Client, token_file: Option<&Path>, say: impl Fn(&str)) {
    let mut states = client.states();
    let mut told = None;
    let mut carried_by = client.transport();
    loop {
        match states.borrow_and_update().clone() {
            State::Connected => {
                let transport = client.transport();
                if told.take().is_some() {
                    say(&format!("* connected again{}", over(client)));
                } else if let Some(transport) = transport.filter(|_| transport != carried_by) {
                    say(&format!("* over {transport} from here on"));
                }
                carried_by = transport.or(carried_by);
            }
            // Every attempt ends so: only what is new is told.
            State::Disconnected { reason, .. } if told.as_ref() != Some(&reason) => {
                say(&format!("* disconnected: {reason}; {}", waiting_for(&reason, token_file)));
                told = Some(reason);
            }
            State::Closed { .. } => return,
            _ => {}
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_what_is_missing() {
        let file = Path::new("t.tok");
        let code = |code| Reason::Code { code, text: String::new() };
        for token in [code(Code::TOKEN_EXPIRED), code(Code::TOKEN_REVOKED), Reason::Token("none".to_owned())]
        {
            assert_eq!(waiting_for(&token, Some(file)), "waiting for another token in t.tok");
        }
        for server in [code(Code::GOING_AWAY), Reason::TimedOut] {
            assert!(waiting_for(&server, Some(file)).contains("until the server is back"));
        }
    }
}
