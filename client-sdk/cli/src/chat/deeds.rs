//! What becomes of messages of a chat by its commands.

use std::collections::VecDeque;
use std::pin::Pin;

use quoth_client::{Done, RequestError, Seq};

use super::Chat;
use crate::hint::hint;
use crate::output::shortened;

/// A request that is under way, or waits for those before it.
pub(super) type Deed = Pin<Box<dyn Future<Output = Result<Done, RequestError>>>>;

impl Chat<'_> {
    /// Has the user's last message say something else.
    pub(super) fn edit(&mut self, text: Vec<u8>) {
        let Some(seq) = self.last_of_mine() else { return self.nothing_of_mine() };
        let mentions = self.view.message(seq).map(|message| message.mentions.clone()).unwrap_or_default();
        let what = format!("edit \"{}\"", shortened(&text));
        let room = self.room.clone();
        self.deeds.push_back((what, Box::pin(async move { room.edit(seq, text, &mentions).await })));
    }

    /// Takes the user's last message away from everybody.
    pub(super) fn revoke(&mut self) {
        let Some(seq) = self.last_of_mine() else { return self.nothing_of_mine() };
        let room = self.room.clone();
        self.deeds.push_back(("/revoke".to_owned(), Box::pin(async move { room.revoke(seq).await })));
    }

    /// Reacts to the last message of somebody else.
    pub(super) fn react(&mut self, reaction: String) {
        let Some(seq) = self.last_of_another() else {
            return self.failed("nobody else has said anything here that you could react to");
        };
        let (room, what) = (self.room.clone(), format!("reaction {}", shortened(reaction.as_bytes())));
        self.deeds.push_back((what, Box::pin(async move { room.react(seq, reaction, true).await })));
    }

    /// What is done is shown by the event that comes of it.
    pub(super) fn done(&mut self, what: &str, done: Result<Done, RequestError>) {
        let Err(error) = done else { return };
        match hint(&error, self.situation) {
            Some(hint) => self.failed(format_args!("your {what}: {error}\n* {hint}")),
            None => self.failed(format_args!("your {what}: {error}")),
        }
    }

    pub(super) fn last_of_another(&self) -> Option<Seq> {
        self.view.messages().rfind(|message| message.sender != self.me).map(|message| message.seq)
    }

    fn last_of_mine(&self) -> Option<Seq> {
        self.view.messages().rfind(|message| message.sender == self.me).map(|message| message.seq)
    }

    fn nothing_of_mine(&mut self) {
        self.failed("nothing of yours was shown here");
    }
}

/// The oldest request, with what it is; for ever when there is none. Cancel-safe.
pub(super) async fn oldest_deed(
    deeds: &mut VecDeque<(String, Deed)>,
) -> (String, Result<Done, RequestError>) {
    let Some((_, oldest)) = deeds.front_mut() else { return std::future::pending().await };
    let done = oldest.await;
    let what = deeds.pop_front().map(|(what, _)| what).unwrap_or_default();
    (what, done)
}
