//! Prints a conversation, and goes on where it was when it is started again: `follow SERVER CA_FILE TOKEN
//! CURSOR_FILE`.

use std::error::Error;
use std::path::Path;

use quoth_client::{Client, ClientEvent, Conversation, Cursor, ReadFrom, Seq, Start};

/// Hands out what came since the last time, and `caught up` where that is all, until `handle` wants no more.
pub(crate) async fn follow(
    room: &Conversation,
    file: &Path,
    mut handle: impl FnMut(ClientEvent) -> bool,
) -> Result<(), Box<dyn Error>> {
    let kept: Option<Cursor> = match std::fs::read(file) {
        Ok(text) => Some(serde_json::from_slice(&text)?),
        Err(_) => None,
    };
    let begin = ReadFrom::from(Start::After(Seq(0)));
    let mut events = match room.events(kept.map_or(begin, ReadFrom::from)).await {
        // The server was restored from a backup: what was read before is not what it has.
        Err(error) if error.is_reset() => room.events(begin).await?,
        events => events?,
    };
    loop {
        let event = match events.next().await {
            Some(Err(error)) if error.is_reset() => {
                drop(events);
                events = room.events(begin).await?;
                continue;
            }
            Some(event) => event?,
            None => return Ok(()),
        };
        let goes_on = handle(event);
        // Behind what was handled, so that it is handled again rather than never.
        std::fs::write(file, serde_json::to_vec(&events.cursor())?)?;
        if !goes_on {
            return Ok(());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let [server, ca, token, file] = [1, 2, 3, 4].map(|i| std::env::args().nth(i).unwrap_or_default());
    let client = Client::builder(server).ca_file(ca).token(token).connect().await?;
    let room = client.conversation("general")?;
    let print = |event| {
        println!("{event:?}");
        true
    };
    follow(&room, file.as_ref(), print).await
}
