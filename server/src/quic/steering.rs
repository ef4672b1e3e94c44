//! Which worker has a connection, as its ids tell: the kernel picks the socket by the same rule, so that a
//! client whose address changes, as behind a NAT that forgets, still reaches the worker that has its
//! connection.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, HashedConnectionIdGenerator, InvalidCid};

/// One worker among all of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    /// Its place, from 0 on.
    pub worker: u32,
    /// How many there are, at least 1.
    pub workers: u32,
}

impl Steering {
    /// The only worker of a server.
    pub const ALONE: Self = Self { worker: 0, workers: 1 };

    /// Whether the rule sends packets with this id here.
    fn has(self, id: &[u8]) -> bool {
        worker_of(id, self.workers) == self.worker
    }
}

/// The rule: the first four bytes of a packet's destination connection id, modulo the number of workers. A
/// client's first packets have an id of its own choice, and repeated ones have the same.
pub(crate) fn worker_of(id: &[u8], workers: u32) -> u32 {
    id.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) % workers)
}

/// Makes the ids of one worker's connections: keyed ones, so that an id which the server cannot have made is
/// dropped without an answer, and such as the rule sends to this worker.
///
/// An id of another worker is dropped too. It can come here only by a mistake on the way, and must not be
/// answered with a reset of a connection that lives elsewhere. After a restart with another number of workers
/// the rule sends old ids to somebody, and who gets them resets them.
pub(crate) struct SteeredIds {
    keyed: HashedConnectionIdGenerator,
    steering: Steering,
}

impl SteeredIds {
    pub(crate) fn new(key: u64, steering: Steering) -> Self {
        Self { keyed: HashedConnectionIdGenerator::from_key(key), steering }
    }
}

impl ConnectionIdGenerator for SteeredIds {
    fn generate_cid(&mut self) -> ConnectionId {
        loop {
            let id = self.keyed.generate_cid();
            if self.steering.has(&id) {
                return id;
            }
        }
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        if !self.steering.has(id) {
            return Err(InvalidCid);
        }
        self.keyed.validate(id)
    }

    fn cid_len(&self) -> usize {
        self.keyed.cid_len()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        self.keyed.cid_lifetime()
    }
}

#[cfg(test)]
mod tests {
    use quinn_proto::{ConnectionId, ConnectionIdGenerator};

    use super::{SteeredIds, Steering, worker_of};

    #[test]
    fn workers_get_their_share() {
        let mut keyed = SteeredIds::new(7, Steering::ALONE);
        let mut counts = [0_u32; 4];
        for _ in 0..4_000 {
            counts[worker_of(&keyed.generate_cid(), 4) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_id_is_known_to_the_worker_that_its_packets_reach_whatever_worker_made_it() {
        let knows = |steering, id: &ConnectionId| SteeredIds::new(7, steering).validate(id).is_ok();
        for made_by in [Steering::ALONE, Steering { worker: 2, workers: 3 }] {
            let id = SteeredIds::new(7, made_by).generate_cid();
            assert!(knows(Steering::ALONE, &id));
            for worker in 0..4 {
                let steering = Steering { worker, workers: 4 };
                assert_eq!(knows(steering, &id), worker_of(&id, 4) == worker);
            }
            assert!(SteeredIds::new(8, Steering::ALONE).validate(&id).is_err(), "another server's");
        }
    }
}
