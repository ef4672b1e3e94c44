//! MQTT 3.1.1, as much as the bench needs of it: publishes with `QoS` 1, subscriptions with `QoS` 0.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BufMut as _, BytesMut};

use super::link::{Dialect, Inboxes};
use crate::system::Part;

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH_QOS_0: u8 = 0x30;
const PUBLISH_QOS_1: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

/// Publishes without an ack: each needs an id of 16 bits, and 0 is none.
const UNACKED_MAX: usize = u16::MAX as usize;

/// A client's side of the protocol.
#[derive(Debug, Default)]
pub(super) struct Mqtt {
    members: Vec<Topic>,
    readers: HashMap<Topic, usize>,
    /// The latest id of a packet.
    id: u16,
    /// Publishes in their order: id and member.
    unacked: VecDeque<(u16, usize)>,
}

/// A conversation's name behind its length.
type Topic = Box<[u8]>;

impl Mqtt {
    fn next_id(&mut self) -> u16 {
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.id
    }

    /// Takes a packet; what it holds is the front of `input`.
    fn take_packet(
        &mut self,
        first: u8,
        bytes: usize,
        input: &mut BytesMut,
        inboxes: &mut Inboxes,
    ) -> anyhow::Result<()> {
        let mut packet = input.split_to(bytes);
        match (first, &packet[..]) {
            (PUBLISH_QOS_0, content) => {
                let (length, _) = content.split_first_chunk().context("a message without a topic")?;
                let topic_bytes = length.len() + usize::from(u16::from_be_bytes(*length));
                let topic = content.get(..topic_bytes).context("half a topic")?;
                let member = *self.readers.get(topic).context("a message for nobody")?;
                packet.advance(topic_bytes);
                inboxes.message(member, packet.freeze())
            }
            (PUBACK, [high, low]) => match self.unacked.pop_front() {
                Some((id, member)) if id == u16::from_be_bytes([*high, *low]) => inboxes.ack(member),
                _ => bail!("an ack that is not the next one"),
            },
            (CONNACK, [_, 0]) | (SUBACK, [_, _, 0]) => inboxes.confirm(),
            (CONNACK | SUBACK, refusal) => bail!("the server refuses: {refusal:?}"),
            (other, _) => bail!("a packet that was not asked for: {other:#x}"),
        }
    }
}

impl Dialect for Mqtt {
    fn hello(&mut self, output: &mut BytesMut) {
        /// Level 4 is 3.1.1; the flag asks for a session without a past, and a keep-alive of 0 for none.
        const HEADER: &[u8] = b"\0\x04MQTT\x04\x02\0\0";
        let client = format!("quoth-{:016x}", rand::random::<u64>());
        let client = with_length(&client).unwrap_or_default();
        put_head(CONNECT, HEADER.len() + client.len(), output);
        output.extend_from_slice(HEADER);
        output.extend_from_slice(&client);
    }

    fn enter(
        &mut self,
        member: usize,
        conversation: &str,
        part: Part,
        output: &mut BytesMut,
    ) -> anyhow::Result<bool> {
        let is_topic = !conversation.is_empty()
            && !conversation.starts_with('$')
            && !conversation.contains(['+', '#', '\0']);
        anyhow::ensure!(is_topic, "{conversation:?} cannot be a topic of MQTT");
        let topic = with_length(conversation)?;
        if part.reads() {
            anyhow::ensure!(
                self.readers.insert(topic.clone(), member).is_none(),
                "{conversation} has a reader on this connection, and MQTT delivers once to each connection"
            );
            put_head(SUBSCRIBE, 2 + topic.len() + 1, output);
            output.put_u16(self.next_id());
            output.extend_from_slice(&topic);
            output.put_u8(0);
        }
        self.members.push(topic);
        Ok(part.reads())
    }

    fn publish(&mut self, member: usize, body: &[u8], output: &mut BytesMut) -> bool {
        if self.unacked.len() == UNACKED_MAX {
            return false;
        }
        let id = self.next_id();
        self.unacked.push_back((id, member));
        let topic = &self.members[member];
        output.reserve(topic.len() + body.len() + 8);
        put_head(PUBLISH_QOS_1, topic.len() + 2 + body.len(), output);
        output.extend_from_slice(topic);
        output.put_u16(id);
        output.extend_from_slice(body);
        true
    }

    fn take(
        &mut self,
        input: &mut BytesMut,
        _output: &mut BytesMut,
        inboxes: &mut Inboxes,
    ) -> anyhow::Result<()> {
        while let Some((head_bytes, bytes)) = head_of(input)? {
            if input.len() < head_bytes + bytes {
                break;
            }
            let first = input[0];
            input.advance(head_bytes);
            self.take_packet(first, bytes, input, inboxes)?;
        }
        Ok(())
    }

    fn goodbye(&mut self, output: &mut BytesMut) {
        put_head(DISCONNECT, 0, output);
    }
}

fn with_length(text: &str) -> anyhow::Result<Topic> {
    let length = u16::try_from(text.len())?;
    Ok([&length.to_be_bytes(), text.as_bytes()].concat().into())
}

/// The front of a packet: its type and how many bytes follow, 7 bits in each byte, the low ones first.
fn put_head(first: u8, mut bytes: usize, output: &mut BytesMut) {
    output.put_u8(first);
    loop {
        let low = bytes.to_le_bytes()[0] & 0x7f;
        bytes >>= 7;
        output.put_u8(if bytes == 0 { low } else { low | 0x80 });
        if bytes == 0 {
            return;
        }
    }
}

/// The bytes of a packet's front and those behind it; `None` of half a front.
fn head_of(input: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    let mut bytes = 0;
    for (i, byte) in input.iter().skip(1).take(4).enumerate() {
        bytes |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((i + 2, bytes)));
        }
    }
    anyhow::ensure!(input.len() < 5, "a packet's length that does not end");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packets_front_is_read_as_it_was_written() {
        for bytes in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
            let mut output = BytesMut::new();
            put_head(PUBACK, bytes, &mut output);
            assert_eq!(head_of(&output).ok(), Some(Some((output.len(), bytes))));
            assert_eq!(head_of(&output[..output.len() - 1]).ok(), Some(None));
        }
        assert!(head_of(&[PUBACK, 0x80, 0x80, 0x80, 0x80]).is_err());
    }

    #[test]
    fn ids_go_round_without_0_and_no_more_publishes_are_unacked_than_there_are_ids() {
        let mut mqtt = Mqtt::default();
        let mut output = BytesMut::new();
        mqtt.enter(0, "room", Part::Publish, &mut output).expect("a topic");
        for _ in 0..UNACKED_MAX {
            assert!(mqtt.publish(0, b"", &mut output));
        }
        assert!(!mqtt.publish(0, b"", &mut output));
        assert_eq!(mqtt.unacked.pop_front(), Some((1, 0)));
        assert!(mqtt.publish(0, b"", &mut output));
        assert_eq!(mqtt.unacked.back(), Some(&(1, 0)));
    }

    #[test]
    fn a_second_reader_on_a_connection_and_what_cannot_be_a_topic_are_refused() {
        let mut mqtt = Mqtt::default();
        let mut output = BytesMut::new();
        assert_eq!(mqtt.enter(0, "room", Part::Read, &mut output).ok(), Some(true));
        assert_eq!(mqtt.enter(1, "room", Part::Publish, &mut output).ok(), Some(false));
        assert!(mqtt.enter(2, "room", Part::Both, &mut output).is_err());
        assert!(mqtt.enter(2, "a/#", Part::Publish, &mut output).is_err());
    }
}
