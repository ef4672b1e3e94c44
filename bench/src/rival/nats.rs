//! NATS' client protocol, as much as the bench needs of it, and `JetStream`'s acks.

use anyhow::{Context as _, bail};
use bytes::{Buf as _, BytesMut};

use super::link::{Dialect, Inboxes};
use crate::system::Part;

/// The subscription to what the server answers about the stream. A member's are behind it: two for each.
const STREAM_SUBSCRIPTION: usize = 0;

/// What a connection has to do with the stream that holds all conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// There is none, so nothing is stored or acked.
    None,
    /// It makes it.
    Make,
    /// It publishes to it, and reads what it republishes.
    Use,
}

/// A client's side of the protocol.
#[derive(Debug)]
pub(super) struct Nats {
    stream: Stream,
    /// The front of subjects that are this connection's own.
    own: String,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    /// What stands in front of a message's length.
    publish: String,
    /// The stream's number of the latest acked message. Numbers that rise mean that acks come in order.
    acked_seq: u64,
}

/// The line in front of a message.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    subscription: usize,
    header_bytes: usize,
    /// Bytes of the headers and the body.
    bytes: usize,
}

impl Nats {
    /// A client that has not said hello.
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, own: format!("_INBOX.{:016x}", rand::random::<u64>()), members: Vec::new() }
    }

    fn make_stream(&self, output: &mut BytesMut) {
        const CONFIG: &str = r#"{"name":"BENCH","subjects":["published.>"],"storage":"file","num_replicas":1,"republish":{"src":"published.>","dest":"live.>"}}"#;
        let own = &self.own;
        let length = CONFIG.len();
        let create = format!(
            "SUB {own}.stream {STREAM_SUBSCRIPTION}\r\n\
             PUB $JS.API.STREAM.CREATE.BENCH {own}.stream {length}\r\n{CONFIG}\r\n"
        );
        output.extend_from_slice(create.as_bytes());
    }

    fn take_message(
        &mut self,
        subscription: usize,
        body: BytesMut,
        output: &mut BytesMut,
        inboxes: &mut Inboxes,
    ) -> anyhow::Result<()> {
        if subscription == STREAM_SUBSCRIPTION {
            let answer: serde_json::Value = serde_json::from_slice(&body)?;
            anyhow::ensure!(answer.get("error").is_none(), "no stream can be made: {answer}");
            output.extend_from_slice(b"PING\r\n");
            return Ok(());
        }
        let (member, is_ack) = member_of(subscription);
        if !is_ack {
            return inboxes.message(member, body.freeze());
        }
        let acked_seq = &mut self.members.get_mut(member).context("an ack for nobody")?.acked_seq;
        match ack_seq(&body) {
            Some(seq) if seq > *acked_seq => *acked_seq = seq,
            _ => bail!("not the next ack: {}", String::from_utf8_lossy(&body)),
        }
        inboxes.ack(member)
    }

    fn take_line(line: &[u8], output: &mut BytesMut, inboxes: &mut Inboxes) -> anyhow::Result<()> {
        match line {
            b"PING" => output.extend_from_slice(b"PONG\r\n"),
            b"PONG" => inboxes.confirm()?,
            line if line.starts_with(b"INFO ") => {}
            line => bail!("the server says {}", String::from_utf8_lossy(line)),
        }
        Ok(())
    }
}

impl Dialect for Nats {
    fn hello(&mut self, output: &mut BytesMut) {
        output.extend_from_slice(
            b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\
              \"lang\":\"rust\",\"version\":\"0\",\"name\":\"quoth-bench\",\"protocol\":1}\r\n",
        );
        match self.stream {
            Stream::Make => self.make_stream(output),
            Stream::None | Stream::Use => output.extend_from_slice(b"PING\r\n"),
        }
    }

    fn enter(
        &mut self,
        member: usize,
        conversation: &str,
        part: Part,
        output: &mut BytesMut,
    ) -> anyhow::Result<bool> {
        check_subject(conversation)?;
        let mut publish = format!("PUB published.{conversation} ");
        let mut subscribe = String::new();
        if part.reads() {
            let live = if self.stream == Stream::None { "published" } else { "live" };
            subscribe += &format!("SUB {live}.{conversation} {}\r\n", subscription(member, false));
        }
        if part.publishes() && self.stream != Stream::None {
            let acks = format!("{}.{member}", self.own);
            subscribe += &format!("SUB {acks} {}\r\n", subscription(member, true));
            publish += &format!("{acks} ");
        }
        // The answer comes once the server has taken everything before it.
        subscribe += "PING\r\n";
        output.extend_from_slice(subscribe.as_bytes());
        self.members.push(Member { publish, acked_seq: 0 });
        Ok(true)
    }

    fn publish(&mut self, member: usize, body: &[u8], output: &mut BytesMut) -> bool {
        let head = &self.members[member].publish;
        output.reserve(head.len() + body.len() + 16);
        output.extend_from_slice(head.as_bytes());
        output.extend_from_slice(body.len().to_string().as_bytes());
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(body);
        output.extend_from_slice(b"\r\n");
        true
    }

    fn take(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
        inboxes: &mut Inboxes,
    ) -> anyhow::Result<()> {
        while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
            let line = input[..end].trim_ascii_end();
            let Some(head) = Head::read(line)? else {
                Self::take_line(line, output, inboxes)?;
                input.advance(end + 1);
                continue;
            };
            if input.len() < end + 1 + head.bytes + b"\r\n".len() {
                break;
            }
            input.advance(end + 1 + head.header_bytes);
            let body = input.split_to(head.bytes - head.header_bytes);
            input.advance(b"\r\n".len());
            self.take_message(head.subscription, body, output, inboxes)?;
        }
        Ok(())
    }

    fn goodbye(&mut self, _output: &mut BytesMut) {
        // NATS has no word for it: the server sees the end of what is sent.
    }
}

impl Head {
    /// `MSG <subject> <subscription> [reply] <bytes>`, or `HMSG` with the headers' bytes before all bytes;
    /// `None` of another line.
    fn read(line: &[u8]) -> anyhow::Result<Option<Self>> {
        let has_headers = line.starts_with(b"HMSG ");
        if !has_headers && !line.starts_with(b"MSG ") {
            return Ok(None);
        }
        let head = || {
            let mut fields = line.split(|byte| *byte == b' ');
            let bytes = number(fields.next_back()?)?;
            let header_bytes = if has_headers { number(fields.next_back()?)? } else { 0 };
            let subscription = number(fields.nth(2)?)?;
            (header_bytes <= bytes).then_some(Self { subscription, header_bytes, bytes })
        };
        match head() {
            Some(head) => Ok(Some(head)),
            None => bail!("not the front of a message: {}", String::from_utf8_lossy(line)),
        }
    }
}

/// What a member's subscription is called.
fn subscription(member: usize, is_for_acks: bool) -> usize {
    2 * (member + 1) + usize::from(is_for_acks)
}

/// The member of a subscription that is not [`STREAM_SUBSCRIPTION`], and whether it is for acks.
fn member_of(subscription: usize) -> (usize, bool) {
    ((subscription / 2).saturating_sub(1), subscription % 2 == 1)
}

/// The number in `{"stream":"BENCH","seq":1}`; `None` of an error.
fn ack_seq(ack: &[u8]) -> Option<u64> {
    const KEY: &[u8] = b"\"seq\":";
    let at = ack.windows(KEY.len()).position(|window| window == KEY)?;
    let digits = &ack[at + KEY.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    number(&digits[..end])
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn check_subject(conversation: &str) -> anyhow::Result<()> {
    let is_subject = conversation.split('.').all(|token| {
        !token.is_empty()
            && !token.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '*' | '>'))
    });
    anyhow::ensure!(is_subject, "{conversation:?} cannot be a subject of NATS");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_a_message_is_read() {
        let head = |line: &str| Head::read(line.as_bytes());
        let plain = Head { subscription: 9, header_bytes: 0, bytes: 11 };
        assert_eq!(head("MSG a.b 9 11").ok(), Some(Some(plain)));
        let answered = Head { subscription: 9, header_bytes: 0, bytes: 7 };
        assert_eq!(head("MSG a.b 9 reply.to 7").ok(), Some(Some(answered)));
        let headed = Head { subscription: 9, header_bytes: 34, bytes: 45 };
        assert_eq!(head("HMSG a.b 9 34 45").ok(), Some(Some(headed)));
        assert_eq!(head("PING").ok(), Some(None));
        assert!(head("HMSG a.b 9 46 45").is_err());
        assert!(head("MSG a.b").is_err());
    }

    #[test]
    fn an_ack_has_a_number_and_an_error_has_not_a_new_one() {
        assert_eq!(ack_seq(br#"{"stream":"BENCH","seq":17}"#), Some(17));
        assert_eq!(ack_seq(br#"{"stream":"BENCH", "seq":18,"duplicate":true}"#), Some(18));
        assert_eq!(ack_seq(br#"{"error":{"code":503},"stream":"BENCH","seq":0}"#), Some(0));
        assert_eq!(ack_seq(b""), None);
    }

    #[test]
    fn a_subscription_leads_back_to_its_member() {
        for member in 0..5 {
            for is_for_acks in [false, true] {
                let subscription = subscription(member, is_for_acks);
                assert_ne!(subscription, STREAM_SUBSCRIPTION);
                assert_eq!(member_of(subscription), (member, is_for_acks));
            }
        }
    }

    #[test]
    fn a_message_in_two_pieces_is_taken_whole() {
        let mut nats = Nats::new(Stream::None);
        let (mut output, mut inboxes) = (BytesMut::new(), Inboxes::default());
        let mut input = BytesMut::from(&b"PING\r\nMSG a 2 5\r\nhel"[..]);
        nats.take(&mut input, &mut output, &mut inboxes).expect("a piece");
        assert_eq!((&output[..], &input[..]), (&b"PONG\r\n"[..], &b"MSG a 2 5\r\nhel"[..]));
        input.extend_from_slice(b"lo\r\n");
        let nobody = nats.take(&mut input, &mut output, &mut inboxes);
        assert!(nobody.is_err_and(|error| error.to_string() == "a message for nobody"));
    }

    #[test]
    fn what_cannot_be_a_subject_is_refused() {
        for name in ["room-1", "a.b", "päper/1"] {
            assert!(check_subject(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a..b", ".a", "a.*", "a>"] {
            assert!(check_subject(name).is_err(), "{name}");
        }
    }
}
