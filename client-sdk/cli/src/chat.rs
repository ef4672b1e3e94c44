//! `quoth chat`: what is said comes in, lines go out.

use std::collections::VecDeque;

use quoth_client::{Client, Sending, Start, State};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::show::line;

/// Messages that are shown at the start.
const SHOWN_AT_START: u32 = 20;

/// Chats until the user leaves. What was typed is stored before it returns.
pub(crate) async fn run(client: &Client, conversation: &str) -> anyhow::Result<()> {
    let room = client.conversation(conversation)?;
    let mut events = room.events(Start::Last(SHOWN_AT_START)).await?;
    let mut states = client.states();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut sent = VecDeque::<Sending>::new();
    eprintln!("-- {conversation}: type a line to send it, /quit to leave --");
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    if let Some(line) = line(&event?, false) {
                        println!("{line}");
                    }
                }
                None => break,
            },
            typed = lines.next_line() => match typed? {
                Some(text) if text == "/quit" => break,
                Some(text) if text.is_empty() => {}
                Some(text) => sent.push_back(room.send_pipelined(text.into()).await?),
                None => break,
            },
            Some(answer) = first(&mut sent) => {
                sent.pop_front();
                if let Err(error) = answer {
                    eprintln!("-- not sent: {error} --");
                }
            }
            Ok(()) = states.changed() => match &*states.borrow_and_update() {
                State::Connected => eprintln!("-- connected --"),
                State::Disconnected { .. } => eprintln!("-- connection lost, connecting again --"),
                State::Closed { reason } => eprintln!("-- closed: {reason} --"),
                _ => {}
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    for sending in sent {
        sending.await?;
    }
    Ok(())
}

async fn first(sent: &mut VecDeque<Sending>) -> Option<Result<quoth_client::Ack, quoth_client::SendError>> {
    match sent.front_mut() {
        Some(sending) => Some(sending.await),
        None => None,
    }
}
