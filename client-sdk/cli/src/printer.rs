//! Events of history as they are printed: with what has become of them, and with what is missing told as
//! exact ranges.

use std::io::Write;

use quoth_client::{ClientEvent, MessageState, Seq};
use serde::Serialize;

use crate::output::{Format, Known, written};

/// What all the lines before it tell, as the last line of JSON.
#[derive(Serialize)]
struct JsonEnd {
    history: JsonTold,
}

#[derive(Serialize)]
struct JsonTold {
    /// The first and the last seq that were told of; none: nothing was.
    from: Option<Seq>,
    to: Option<Seq>,
    /// The first and the last seq of the conversation that can be read.
    floor: Seq,
    head: Seq,
    /// How many gaps were told, and whether there are none.
    gaps: u64,
    complete: bool,
}

/// Prints events in their order.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    /// A gap that another one may touch, in the next page.
    gap: Option<(Seq, Seq)>,
    gaps: u64,
    /// First and last seq of what was printed.
    told: Option<(Seq, Seq)>,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self { out, format, gap: None, gaps: 0, told: None }
    }

    /// Prints an event, a message with what it has come to.
    pub(crate) fn print(&mut self, event: &ClientEvent, state: Option<&MessageState>) -> anyhow::Result<()> {
        if let ClientEvent::Gap { from, to } = event {
            return self.missing(*from, *to);
        }
        self.end_gap()?;
        match event {
            ClientEvent::Event(event) => self.tell(event.seq, event.seq),
            ClientEvent::Unknown { seq, .. } => self.tell(*seq, *seq),
            _ => {}
        }
        let known = Known { state, ..Known::default() };
        written(self.format.print(&mut self.out, event, &known))
    }

    /// Tells that the events from `from` up to and including `to` are missing, if there are any.
    pub(crate) fn missing(&mut self, from: Seq, to: Seq) -> anyhow::Result<()> {
        if to < from {
            return Ok(());
        }
        match &mut self.gap {
            Some((_, end)) if end.next() >= from => *end = to.max(*end),
            _ => {
                self.end_gap()?;
                self.gap = Some((from, to));
            }
        }
        Ok(())
    }

    /// Writes out what is left, and in JSON what all of it is of a conversation with this floor and this
    /// head. Gives whether anything was told.
    pub(crate) fn finish(mut self, floor: Seq, head: Seq) -> anyhow::Result<bool> {
        self.end_gap()?;
        if let Format::Json = self.format {
            let (from, to) = self.told.unzip();
            let history = JsonTold { from, to, floor, head, gaps: self.gaps, complete: self.gaps == 0 };
            let line = serde_json::to_string(&JsonEnd { history })?;
            written(writeln!(self.out, "{line}"))?;
        }
        written(self.out.flush())?;
        Ok(self.told.is_some())
    }

    fn tell(&mut self, from: Seq, to: Seq) {
        let (first, _) = *self.told.get_or_insert((from, to));
        self.told = Some((first, to));
    }

    fn end_gap(&mut self) -> anyhow::Result<()> {
        let Some((from, to)) = self.gap.take() else { return Ok(()) };
        self.gaps += 1;
        self.tell(from, to);
        written(self.format.print(&mut self.out, &ClientEvent::Gap { from, to }, &Known::default()))
    }
}

#[cfg(test)]
mod tests {
    use quoth_client::UserId;

    use super::*;

    #[test]
    fn gaps_that_touch_are_one_wherever_a_page_ends() {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, Format::Json);
        let gap = |from, to| ClientEvent::Gap { from: Seq(from), to: Seq(to) };
        let sender = UserId::new("alice").unwrap();
        let unknown = ClientEvent::Unknown { seq: Seq(9), time_ms: 0, sender };
        printer.missing(Seq(1), Seq(0)).unwrap();
        for event in [gap(1, 3), gap(4, 8), unknown, gap(10, 10), gap(12, 13)] {
            printer.print(&event, None).unwrap();
        }
        assert!(printer.finish(Seq(5), Seq(20)).unwrap());
        let told: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(told[0], r#"{"gap":{"from":1,"to":8}}"#);
        assert_eq!(
            told[2..],
            [
                r#"{"gap":{"from":10,"to":10}}"#,
                r#"{"gap":{"from":12,"to":13}}"#,
                r#"{"history":{"from":1,"to":13,"floor":5,"head":20,"gaps":3,"complete":false}}"#,
            ]
        );
        assert!(!Printer::new(Vec::new(), Format::Full).finish(Seq(1), Seq(0)).unwrap());
        let mut out = Vec::new();
        assert!(!Printer::new(&mut out, Format::Json).finish(Seq(1), Seq(0)).unwrap());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"history\":{\"from\":null,\"to\":null,\"floor\":1,\"head\":0,\"gaps\":0,\"complete\":true}}\n"
        );
    }
}
