//! Which connection attempts are taken up: a handshake costs the server more than its first packet costs a
//! client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use quoth_protocol::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::counts::{Counted, Counts};
use super::refusals::{Refusal, Refusals};

/// What an address may have of the handshakes however many are under way, as long as there is room: a client
/// and its next try.
const SHARE_MIN: usize = 2;

/// Counts connections and handshakes.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Arc<Limits>,
    connections: Arc<Semaphore>,
    /// Over QUIC.
    handshakes: Arc<Handshakes>,
    /// TCP connections that are no WebSocket yet: apart, so that who fills one kind of places leaves the
    /// other way in.
    requests: Arc<Handshakes>,
    addresses: Arc<Counts<Address>>,
    users: Arc<Counts<UserId>>,
    refusals: Refusals,
}

/// What becomes of a connection attempt.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Go on with it. The first is to be held while the handshake lasts, the other one while the connection
    /// does.
    Accept(Handshake, OwnedSemaphorePermit),
    /// Have the address validated first: the attempt costs nothing until then.
    Retry,
    /// Say that the server is full.
    Refuse,
    /// Say nothing: the address has its share, and an honest client behind it repeats its packet.
    Ignore,
}

/// A connection's place among all of them, and among those of its address.
#[derive(Debug)]
pub(crate) struct Place {
    _among_all: OwnedSemaphorePermit,
    _of_address: Counted<Address>,
}

/// A handshake that is under way, or a TCP connection that is no WebSocket yet.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    address: Option<Address>,
}

/// An IPv4 address, or the /64 network of an IPv6 address, which is what one subscriber has.
pub(crate) type Address = IpAddr;

#[derive(Debug, Default)]
struct Handshakes(Mutex<HandshakeCounts>);

#[derive(Debug, Default)]
struct HandshakeCounts {
    all: usize,
    /// Addresses with a handshake under way, so never more than there may be handshakes.
    by_address: HashMap<Address, usize>,
}

impl Admission {
    pub(crate) fn new(limits: &Arc<Limits>) -> Self {
        Self {
            limits: Arc::clone(limits),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Arc::default(),
            requests: Arc::default(),
            addresses: Counts::new(limits.connections_per_address_max),
            users: Counts::new(limits.connections_per_user_max),
            refusals: Refusals::default(),
        }
    }

    /// Judges an attempt from an address, which is validated when the client has shown that it gets what is
    /// sent there.
    ///
    /// An address that is not validated gets half of an address's share, so that nobody can use up the share
    /// of another one by sending in its name.
    pub(crate) fn admit(&self, peer: IpAddr, validated: bool) -> Admitted {
        let admitted = self.judge(peer, validated);
        match &admitted {
            Admitted::Accept(..) => {}
            Admitted::Retry => self.refusals.count(Refusal::Retried),
            Admitted::Refuse => self.refusals.count(Refusal::Refused),
            Admitted::Ignore => self.refusals.count(Refusal::Ignored),
        }
        admitted
    }

    fn judge(&self, peer: IpAddr, validated: bool) -> Admitted {
        let (limits, address) = (&self.limits, address(peer));
        let mut counts = self.handshakes.0.lock();
        let of_address = counts.of(address);
        let share = self.share(counts.all);
        if of_address >= share {
            return Admitted::Ignore;
        }
        if !validated && (counts.all >= limits.retry_above_handshakes || of_address >= share / 2) {
            return Admitted::Retry;
        }
        if counts.all >= limits.handshakes_max || self.addresses.is_full(&address) {
            return Admitted::Refuse;
        }
        match self.connection() {
            Some(connection) => {
                Admitted::Accept(begin(&self.handshakes, &mut counts, Some(address)), connection)
            }
            None => Admitted::Refuse,
        }
    }

    /// What one address may have when so many are under way: its whole share while half of the places is
    /// free, and less of them the fewer are left. So a few addresses cannot have them all, unless the
    /// operator leaves all of them to one.
    fn share(&self, all: usize) -> usize {
        let (max, share) = (self.limits.handshakes_max, self.limits.handshakes_per_address_max);
        let (free, half) = (max.saturating_sub(all), max / 2);
        if free >= half || share >= max {
            return share;
        }
        (share.saturating_mul(free) / half).max(SHARE_MIN).min(share)
    }

    /// Takes up a TCP connection for requests, which is counted, as handshakes are and apart from them, until
    /// it has become a WebSocket or is closed; `None` if there are too many. It has a place among the
    /// connections only then. No address is for a proxy, which has the requests of many.
    pub(crate) fn request(&self, peer: Option<IpAddr>) -> Option<Handshake> {
        let address = peer.map(address);
        let mut counts = self.requests.0.lock();
        let has_share = address.is_none_or(|address| counts.of(address) < self.share(counts.all));
        let has_room = has_share && counts.all < self.limits.handshakes_max;
        if !has_room {
            self.refusals.count(Refusal::Ignored);
        }
        has_room.then(|| begin(&self.requests, &mut counts, address))
    }

    /// Whether so many TCP connections wait for requests that one that was served has to make room for
    /// others.
    pub(crate) fn is_crowded(&self) -> bool {
        self.requests.0.lock().all > self.limits.handshakes_max / 2
    }

    /// The place of a connection from an address that has shown that it gets what is sent there; `None` if it
    /// has too many.
    pub(crate) fn place(&self, peer: IpAddr, among_all: OwnedSemaphorePermit) -> Option<Place> {
        let Some(of_address) = self.addresses.take(&address(peer)) else {
            self.refusals.count(Refusal::Refused);
            return None;
        };
        Some(Place { _among_all: among_all, _of_address: of_address })
    }

    /// A place among the connections of a user. A service (a bridge, an import) speaks for many, and is not
    /// counted.
    pub(super) fn of_user(&self, user: &UserId, is_service: bool) -> Option<Counted<UserId>> {
        if is_service { Some(self.users.uncounted()) } else { self.users.take(user) }
    }

    /// The place of another connection of a user, which ends in a moment.
    pub(super) fn of_replaced(&self, user: &UserId) -> Counted<UserId> {
        self.users.take_over(user)
    }

    /// A place among the connections, if there is one left.
    pub(crate) fn connection(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// How many there are.
    pub(crate) fn connections(&self) -> usize {
        self.limits.connections_max.saturating_sub(self.connections.available_permits())
    }
}

/// Counts one more among these, whose counts are locked.
fn begin(among: &Arc<Handshakes>, counts: &mut HandshakeCounts, address: Option<Address>) -> Handshake {
    counts.all += 1;
    if let Some(address) = address {
        *counts.by_address.entry(address).or_default() += 1;
    }
    Handshake { handshakes: Arc::clone(among), address }
}

impl HandshakeCounts {
    fn of(&self, address: Address) -> usize {
        self.by_address.get(&address).copied().unwrap_or_default()
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut counts = self.handshakes.0.lock();
        counts.all -= 1;
        if let Some(address) = &self.address
            && let Some(count) = counts.by_address.get_mut(address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(address);
            }
        }
    }
}

fn address(peer: IpAddr) -> Address {
    match peer.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            [a, b, c, d, 0, 0, 0, 0].into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Admission, Admitted, Handshake};
    use crate::session::Limits;

    fn admission() -> Admission {
        Admission::new(&Arc::new(Limits {
            connections_max: 1_000,
            handshakes_max: 10,
            retry_above_handshakes: 6,
            handshakes_per_address_max: 4,
            ..Limits::default()
        }))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn accepted(admission: &Admission, peer: &str) -> Handshake {
        match admission.admit(ip(peer), true) {
            Admitted::Accept(handshake, _connection) => handshake,
            other => panic!("not accepted: {other:?}"),
        }
    }

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let admission = admission();
        let mut held: Vec<_> = (0..4).map(|_| accepted(&admission, "192.0.2.1")).collect();
        assert!(matches!(admission.admit(ip("192.0.2.1"), true), Admitted::Ignore));
        assert!(
            matches!(admission.admit(ip("::ffff:192.0.2.1"), true), Admitted::Ignore),
            "the same address"
        );
        let _other = accepted(&admission, "192.0.2.2");
        held.pop();
        held.push(accepted(&admission, "192.0.2.1"));
        drop(held);
        assert_eq!(admission.handshakes.0.lock().by_address.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let admission = admission();
        let _held: Vec<_> = (0..4).map(|n| accepted(&admission, &format!("2001:db8::{n:x}:1"))).collect();
        assert!(matches!(admission.admit(ip("2001:db8::9"), true), Admitted::Ignore));
        let _other = accepted(&admission, "2001:db8:0:1::9");
    }

    #[test]
    fn who_is_not_validated_gets_half_a_share_and_nothing_under_load() {
        let admission = admission();
        let peer = ip("192.0.2.1");
        let mut held = Vec::new();
        for _ in 0..2 {
            let Admitted::Accept(handshake, _) = admission.admit(peer, false) else {
                panic!("half of the share is free");
            };
            held.push(handshake);
        }
        assert!(matches!(admission.admit(peer, false), Admitted::Retry));
        held.extend((0..2).map(|_| accepted(&admission, "192.0.2.1")));
        held.extend((0..2).map(|_| accepted(&admission, "192.0.2.2")));
        assert!(matches!(admission.admit(ip("192.0.2.3"), false), Admitted::Retry), "six are under way");
        held.extend((3..7).map(|n| accepted(&admission, &format!("192.0.2.{n}"))));
        assert!(matches!(admission.admit(ip("192.0.2.9"), true), Admitted::Refuse), "ten are");
    }

    #[test]
    fn some_addresses_do_not_get_all_there_is() {
        let admission = Admission::new(&Arc::new(Limits::default()));
        let fill = |of: IpAddr| {
            let over_quic = std::iter::from_fn(|| match admission.admit(of, true) {
                Admitted::Accept(handshake, _) => Some(handshake),
                _ => None,
            });
            let quic: Vec<_> = over_quic.collect();
            let tcp: Vec<_> = std::iter::from_fn(|| admission.request(Some(of))).collect();
            assert_eq!(quic.len(), tcp.len(), "both have the same bounds");
            (quic, tcp)
        };
        let held: Vec<_> = (1..=8).map(|n| fill(ip(&format!("192.0.2.{n}")))).collect();
        let counts: Vec<_> = held.iter().map(|(quic, _)| quic.len()).collect();
        assert_eq!(counts[..2], [64, 64], "the whole share while half is free");
        assert!(counts.is_sorted_by(|a, b| a >= b) && counts[7] >= 2, "{counts:?}");
        let (quic, tcp) = fill(ip("192.0.2.9"));
        assert!(quic.len() >= 2 && tcp.len() >= 2, "{counts:?} leave nothing");
        let of_one = Limits { handshakes_per_address_max: 256, ..Limits::default() };
        let admission = Admission::new(&Arc::new(of_one));
        let all = std::iter::from_fn(|| admission.request(Some(ip("192.0.2.1"))));
        assert_eq!(all.collect::<Vec<_>>().len(), 256, "where the operator leaves all to one");
    }

    #[test]
    fn a_full_server_refuses() {
        let admission = Admission::new(&Arc::new(Limits { connections_max: 1, ..Limits::default() }));
        let first = admission.admit(ip("192.0.2.1"), true);
        assert!(matches!(first, Admitted::Accept(..)));
        assert!(matches!(admission.admit(ip("192.0.2.1"), true), Admitted::Refuse));
        drop(first);
        assert!(matches!(admission.admit(ip("192.0.2.1"), true), Admitted::Accept(..)));
    }

    #[test]
    fn requests_over_tcp_have_bounds_of_their_own_and_no_place() {
        let admission = admission();
        let peer = ip("192.0.2.1");
        let mut held: Vec<_> = (0..4).map(|_| admission.request(Some(peer)).unwrap()).collect();
        assert!(admission.request(Some(peer)).is_none());
        held.extend((0..4).map(|_| accepted(&admission, "192.0.2.1")));
        assert!(matches!(admission.admit(peer, true), Admitted::Ignore));
        assert!(!admission.is_crowded());
        held.extend((2..8).map(|n| admission.request(Some(ip(&format!("192.0.2.{n}")))).unwrap()));
        assert!(admission.is_crowded());
        assert!(admission.request(Some(ip("192.0.2.9"))).is_none(), "ten are under way");
        assert!(admission.request(None).is_none(), "for a proxy, too");
        held.push(accepted(&admission, "192.0.2.9"));
        let full = Admission::new(&Arc::new(Limits { connections_max: 1, ..Limits::default() }));
        let _place = full.connection().unwrap();
        assert!(full.connection().is_none() && full.request(Some(peer)).is_some());
        assert!(matches!(full.admit(peer, true), Admitted::Refuse));
    }
}
