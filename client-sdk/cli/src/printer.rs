//! Events of history as they are printed: with what has become of them, and with what is missing told as exact ranges.

use std::io::Write;

use quoth_client::{ClientEvent, MessageState, Seq};

use crate::output::{Format, Known, written};

/// Prints events in their order.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    out: W,
    format: Format,
    /// A gap that another one may touch, in the next page.
    gap: Option<(Seq, Seq)>,
    has_printed: bool,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(out: W, format: Format) -> Self {
        Self { out, format, gap: None, has_printed: false }
    }

    /// Prints an event, a message with what it has come to.
    pub(crate) fn print(&mut self, event: &ClientEvent, state: Option<&MessageState>) -> anyhow::Result<()> {
        if let ClientEvent::Gap { from, to } = event {
            return self.missing(*from, *to);
        }
        self.end_gap()?;
        self.has_printed = true;
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

    /// Writes out what is left. Gives whether anything was printed.
    pub(crate) fn finish(mut self) -> anyhow::Result<bool> {
        self.end_gap()?;
        written(self.out.flush())?;
        Ok(self.has_printed)
    }

    fn end_gap(&mut self) -> anyhow::Result<()> {
        let Some((from, to)) = self.gap.take() else { return Ok(()) };
        self.has_printed = true;
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
        assert!(printer.finish().unwrap());
        let told: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
        assert_eq!(told[0], r#"{"gap":{"from":1,"to":8}}"#);
        assert_eq!(told[2..], [r#"{"gap":{"from":10,"to":10}}"#, r#"{"gap":{"from":12,"to":13}}"#]);
        assert!(!Printer::new(Vec::new(), Format::Full).finish().unwrap());
    }
}
