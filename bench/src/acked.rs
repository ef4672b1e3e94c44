//! What acks say: that each message has a sequence number of its own, and that those of a conversation leave
//! nothing out. Pure; one for each conversation, whoever publishes there.

use crate::outcome::Check;

/// The sequence numbers of a conversation that were acked, as ranges without a hole, rising.
#[derive(Debug, Clone, Default)]
pub struct Acked {
    ranges: Vec<(u64, u64)>,
    acks: u64,
    repeated: u64,
}

impl Acked {
    /// Takes an ack. They come in any order where several publish.
    pub fn take(&mut self, seq: u64) {
        self.acks += 1;
        // Nearly always the next one.
        if let Some((_, last)) = self.ranges.last_mut()
            && *last + 1 == seq
        {
            *last = seq;
            return;
        }
        let at = self.ranges.partition_point(|(first, _)| *first <= seq);
        if at > 0 && self.ranges[at - 1].1 >= seq {
            self.repeated += 1;
            return;
        }
        let joins_before = at > 0 && self.ranges[at - 1].1 + 1 == seq;
        let joins_behind = self.ranges.get(at).is_some_and(|(first, _)| seq + 1 == *first);
        match (joins_before, joins_behind) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = seq,
            (false, true) => self.ranges[at].0 = seq,
            (false, false) => self.ranges.insert(at, (seq, seq)),
        }
    }

    /// Ends the check of a conversation that had no message before, of which all messages were acked: their
    /// numbers begin at 1 and leave nothing out.
    #[must_use]
    pub fn end(&self) -> Check {
        let holes = self.ranges.len().saturating_sub(1);
        let begins_late = self.ranges.first().is_some_and(|(first, _)| *first != 1);
        Check {
            acks: self.acks,
            duplicate: self.repeated,
            gap: holes as u64 + u64::from(begins_late),
            ..Check::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(seqs: &[u64]) -> (u64, u64, u64) {
        let mut acked = Acked::default();
        seqs.iter().for_each(|seq| acked.take(*seq));
        let Check { acks, duplicate, gap, .. } = acked.end();
        (acks, duplicate, gap)
    }

    #[test]
    fn a_number_that_is_left_out_or_given_twice_is_found() {
        assert_eq!(told(&[1, 2, 3]), (3, 0, 0));
        assert_eq!(told(&[]), (0, 0, 0));
        assert_eq!(told(&[1, 2, 2, 3]), (4, 1, 0));
        assert_eq!(told(&[1, 1]), (2, 1, 0));
        assert_eq!(told(&[1, 2, 4, 5, 7]), (5, 0, 2));
        assert_eq!(told(&[2, 3]), (2, 0, 1));
    }

    proptest! {
        #[test]
        fn it_finds_what_a_set_would(seqs in prop::collection::vec(1_u64..40, 0..60)) {
            let set: std::collections::BTreeSet<u64> = seqs.iter().copied().collect();
            let before = [0].into_iter().chain(set.iter().copied());
            let gaps = before.zip(set.iter()).filter(|(before, seq)| before + 1 != **seq).count();
            let repeated = seqs.len() - set.len();
            prop_assert_eq!(told(&seqs), (seqs.len() as u64, repeated as u64, gaps as u64));
        }
    }
}
