//! Lines of standard input, each within the bounds of a message.

use quoth_client::protocol::limits::BODY_BYTES_MAX;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// What is read of a line at once: a message, and the carriage return and line feed that end it.
const LINE_BYTES_MAX: usize = BODY_BYTES_MAX + 2;

/// What a line of the input is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InputLine {
    /// Without its line feed, and without the carriage return before that. What ends without one is a line as
    /// well.
    Text(Vec<u8>),
    /// Over the limit of a message. Its rest is passed over before the next line.
    TooLong,
}

/// Reads lines and holds no more of one than a message may have.
#[derive(Debug)]
pub(crate) struct InputLines<R> {
    input: R,
    /// What has been read of the next line.
    line: Vec<u8>,
    /// Within the rest of a line that was too long.
    is_passing_over: bool,
}

impl<R: AsyncBufRead + Unpin> InputLines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, line: Vec::new(), is_passing_over: false }
    }

    /// The next line, or `None` at the end. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<InputLine>> {
        loop {
            let room = LINE_BYTES_MAX - self.line.len();
            let read = (&mut self.input).take(room as u64).read_until(b'\n', &mut self.line).await?;
            let is_ended = self.line.last() == Some(&b'\n');
            let is_at_end = read == 0;
            if is_at_end && self.line.is_empty() {
                return Ok(None);
            }
            if self.is_passing_over {
                self.is_passing_over = !is_ended && !is_at_end;
                self.line.clear();
                continue;
            }
            self.is_passing_over = !is_ended && self.line.len() == LINE_BYTES_MAX;
            let mut line = std::mem::take(&mut self.line);
            if is_ended {
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
            }
            let is_too_long = line.len() > BODY_BYTES_MAX;
            return Ok(Some(if is_too_long { InputLine::TooLong } else { InputLine::Text(line) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<InputLine> {
        let mut input = InputLines::new(text);
        let mut lines = Vec::new();
        while let Some(line) = input.next().await.unwrap() {
            assert!(input.line.capacity() <= 2 * LINE_BYTES_MAX, "{}", input.line.capacity());
            lines.push(line);
        }
        lines
    }

    fn text(text: &[u8]) -> InputLine {
        InputLine::Text(text.to_vec())
    }

    #[tokio::test]
    async fn every_line_is_one_whether_or_not_it_is_ended() {
        assert_eq!(lines(b"").await, []);
        assert_eq!(lines(b"\n").await, [text(b"")]);
        assert_eq!(lines(b"a\n\xff\nb").await, [text(b"a"), text(b"\xff"), text(b"b")]);
        assert_eq!(lines(b"a\r\n\r\r\n\rb\r").await, [text(b"a"), text(b"\r"), text(b"\rb\r")]);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_passed_over_and_told() {
        let longest = vec![b'x'; BODY_BYTES_MAX];
        let too_long = vec![b'y'; 3 * BODY_BYTES_MAX];
        let all = [&longest[..], b"\n", &too_long, b"\n", &longest, b"y\nz\n", &too_long].concat();
        let expected =
            [text(&longest), InputLine::TooLong, InputLine::TooLong, text(b"z"), InputLine::TooLong];
        assert_eq!(lines(&all).await, expected);
        assert_eq!(lines(&longest).await, [text(&longest)]);
        let ended = [&longest[..], b"\r\n", &longest, b"\r\r\nz"].concat();
        assert_eq!(lines(&ended).await, [text(&longest), InputLine::TooLong, text(b"z")]);
        assert_eq!(lines(&[&longest[..], b"y"].concat()).await, [InputLine::TooLong]);
    }

    #[tokio::test]
    async fn a_read_that_is_given_up_loses_nothing() {
        let (mut peer, input) = tokio::io::duplex(16);
        let mut input = InputLines::new(tokio::io::BufReader::new(input));
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"one").await.unwrap();
        tokio::select! {
            biased;
            line = input.next() => panic!("{line:?}"),
            () = std::future::ready(()) => {}
        }
        tokio::io::AsyncWriteExt::write_all(&mut peer, b" two\n").await.unwrap();
        assert_eq!(input.next().await.unwrap(), Some(text(b"one two")));
    }
}
