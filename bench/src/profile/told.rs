//! A load in words, for one that flags have made: what its profile says of itself is of another.

use super::{Kind, Payload, Profile, WindowOf};
use crate::unit::{count, counted, number};

impl Profile {
    /// Who does what, as in
    /// `1 conversation of 1 publisher and 1 reader, on 2 connections; 1,000 messages/s of 200 bytes`. The
    /// messages of a replay are not the profile's.
    #[must_use]
    pub fn told(&self, is_replay: bool) -> String {
        let shape = &self.shape;
        let counted = |count: u32, thing| counted(count as usize, thing);
        let conversations = counted(shape.conversations, "conversation");
        let connections = counted(shape.connections, "connection");
        if !self.takes("members") {
            return format!("{connections}, {conversations}");
        }
        let who = if shape.publishers_read {
            format!(
                "{} who read, of whom {} publish",
                counted(shape.members, "member"),
                count(shape.publishers.into())
            )
        } else {
            format!("{} and {}", counted(shape.publishers, "publisher"), counted(shape.readers(), "reader"))
        };
        let bytes = match self.payload {
            Payload::Bytes(bytes) => format!("of {} bytes", count(bytes as u64)),
            Payload::Range([from, to]) => format!("of {} to {} bytes", count(from as u64), count(to as u64)),
        };
        let what = match self.kind {
            _ if is_replay => "replayed messages".to_owned(),
            Kind::Open => format!("{} messages/s {bytes}", number(shape.rate_per_s)),
            Kind::Closed => {
                let of = if shape.window_of == WindowOf::Publisher { "publisher" } else { "connection" };
                format!("{} {bytes} on their way for each {of}", counted(shape.window, "message"))
            }
            _ => format!("{} {bytes} to come back to", counted(shape.backlog, "message")),
        };
        format!("{conversations} of {who}, on {connections}; {what}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Size;

    fn told(name: &str, readers: Option<u32>) -> String {
        let mut profile = Profile::find(name).expect(name);
        profile.resize(Size { readers, ..Size::default() });
        profile.told(false)
    }

    #[test]
    fn a_load_is_told_by_who_does_what() {
        let nobody =
            "1 conversation of 1 publisher and 0 readers, on 1 connection; 1,000 messages/s of 200 bytes";
        assert_eq!(told("latency", Some(0)), nobody);
        assert_eq!(
            told("latency", Some(5)),
            "1 conversation of 1 publisher and 5 readers, on 6 connections; 1,000 messages/s of 200 bytes"
        );
        assert!(
            told("chat", None)
                .starts_with("100 conversations of 10 members who read, of whom 10 publish, on ")
        );
        assert!(told("spread", None).contains("; 80 messages of 200 bytes on their way for each connection"));
        assert!(told("catchup", None).ends_with(" bytes to come back to"));
        let storm = told("storm", None);
        assert!(storm.ends_with(" conversations") && storm.contains("connections, "), "{storm}");
        let replayed = Profile::find("chat").expect("a profile").told(true);
        assert!(replayed.ends_with("; replayed messages"), "{replayed}");
    }
}
