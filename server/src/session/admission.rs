//! Which connection attempts are taken up: a handshake costs the server more than its first packet costs a
//! client.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use quoth_core::places::{Origin, Places, Taken};
use quoth_protocol::{Code, UserId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Limits;
use super::counts::{Counted, Counts};
use super::refusals::{Refusal, Refusals};
use crate::sums::Sums;

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
    strangers: Sums<Code>,
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

/// A handshake that is under way, or a TCP connection that is no WebSocket yet. It ends when it is
/// dropped, and may have to [give way](Self::gives_way) to others before.
#[derive(Debug)]
pub(crate) struct Handshake {
    among: Arc<Handshakes>,
    number: u64,
    /// Nothing comes of it but its end, when the place is another one's.
    gone: oneshot::Receiver<Infallible>,
}

/// An IPv4 address, or the /64 network of an IPv6 address, which is what one link has.
pub(crate) type Address = IpAddr;

#[derive(Debug)]
struct Handshakes {
    since: Instant,
    places: Mutex<Places<Holder>>,
}

/// Its end is how a handshake hears that its place is another one's.
type Holder = oneshot::Sender<Infallible>;

impl Admission {
    pub(crate) fn new(limits: &Arc<Limits>) -> Self {
        Self {
            limits: Arc::clone(limits),
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Handshakes::new(limits),
            requests: Handshakes::new(limits),
            addresses: Counts::new(limits.connections_per_address_max),
            users: Counts::new(limits.connections_per_user_max),
            refusals: Refusals::default(),
            strangers: Sums::default(),
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
        let (limits, origin) = (&self.limits, Origin::new(peer));
        // One lock for the look and the place, or workers would give more than there are together.
        let mut places = self.handshakes.places.lock();
        let (under_way, of_address) = (places.len(), places.of_address(&origin));
        if of_address >= limits.handshakes_per_address_max {
            return Admitted::Ignore;
        }
        // Who has not shown where it is puts nobody else out.
        let validates_from = limits.retry_above_handshakes.min(limits.handshakes_max);
        if !validated && (under_way >= validates_from || of_address >= limits.handshakes_per_address_max / 2)
        {
            return Admitted::Retry;
        }
        if self.addresses.is_full(&origin.address()) {
            return Admitted::Refuse;
        }
        let Some(connection) = self.connection() else { return Admitted::Refuse };
        let origin = if validated { origin } else { origin.claimed() };
        match self.begin(&self.handshakes, &mut places, Some(origin)) {
            Some(handshake) => Admitted::Accept(handshake, connection),
            None => Admitted::Refuse,
        }
    }

    /// Takes up a TCP connection for requests, which is counted, as handshakes are and apart from them, until
    /// it has become a WebSocket or is closed; `None` if there are too many. It has a place among the
    /// connections only then. No address is for a proxy, which has the requests of many.
    pub(crate) fn request(&self, peer: Option<IpAddr>) -> Option<Handshake> {
        let origin = peer.map(Origin::new);
        let mut places = self.requests.places.lock();
        let has_share =
            origin.is_none_or(|origin| places.of_address(&origin) < self.limits.handshakes_per_address_max);
        let request = if has_share { self.begin(&self.requests, &mut places, origin) } else { None };
        if request.is_none() {
            self.refusals.count(Refusal::Ignored);
        }
        request
    }

    /// Counts one more among these, if there is a place, or somebody who has to give one up.
    fn begin(
        &self,
        among: &Arc<Handshakes>,
        places: &mut Places<Holder>,
        origin: Option<Origin>,
    ) -> Option<Handshake> {
        let (holder, gone) = oneshot::channel();
        let Taken { number, evicted } = places.take(origin, among.now_ms(), holder).ok()?;
        if evicted.is_some() {
            // It hears of it by the end of its holder.
            self.refusals.count(Refusal::Evicted);
        }
        Some(Handshake { among: Arc::clone(among), number, gone })
    }

    /// Whether so many TCP connections wait for requests that one that was served has to make room for
    /// others.
    pub(crate) fn is_crowded(&self) -> bool {
        self.requests.places.lock().len() > self.limits.handshakes_max / 2
    }

    /// The place of a connection from an address that has shown that it gets what is sent there; `None` if it
    /// has too many.
    pub(crate) fn place(&self, peer: IpAddr, among_all: OwnedSemaphorePermit) -> Option<Place> {
        let Some(of_address) = self.addresses.take(&Origin::new(peer).address()) else {
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

    /// Tells of a connection that ends before it has signed in. Anybody can make many of them, so most are
    /// told in sum alone.
    pub(super) fn stranger_ended(&self, peer: SocketAddr, code: Code, reason: &str) {
        tracing::debug!(%peer, %code, reason, "a connection ended before a sign-in");
        if let Some(count) = self.strangers.due(code, Instant::now()) {
            tracing::info!(%code, count, %peer, "connections ended before a sign-in; the last one is named");
        }
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

impl Handshakes {
    fn new(limits: &Limits) -> Arc<Self> {
        // As long as a handshake takes over a slow network. Who has lost a packet needs longer, and gets it
        // unless nobody else has held a place for longer.
        let patience_ms = limits.handshake_timeout_ms / 8;
        Arc::new(Self {
            since: Instant::now(),
            places: Mutex::new(Places::new(limits.handshakes_max, patience_ms)),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Handshake {
    /// Ends when its place is another one's. It is to be dropped then, with whatever has not been finished.
    pub(crate) async fn gives_way(&mut self) {
        let Err(_gone) = (&mut self.gone).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let _it_may_have_given_way = self.among.places.lock().leave(self.number, self.among.now_ms());
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::FutureExt as _;

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
        assert_eq!(admission.handshakes.places.lock().len(), 1, "what is over is forgotten");
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
        assert!(matches!(admission.admit(ip("192.0.2.9"), false), Admitted::Retry));
        assert!(held.iter_mut().all(|held| held.gives_way().now_or_never().is_none()));
        let _tenth = accepted(&admission, "192.0.2.9");
        let gone: Vec<bool> = held.iter_mut().map(|held| held.gives_way().now_or_never().is_some()).collect();
        assert_eq!(gone, [&[true][..], &[false; 9]].concat(), "the oldest of the address that has most");
    }

    /// Twenty networks take as many places as they get, again and again.
    #[test]
    fn many_networks_together_lock_nobody_out() {
        let admission = Admission::new(&Arc::new(Limits::default()));
        let mut held = Vec::new();
        for address in (0..20).cycle().take(2_000).map(|n| format!("10.0.{n}.1")) {
            if let Admitted::Accept(handshake, _) = admission.admit(ip(&address), true) {
                held.push(handshake);
            }
            held.extend(admission.request(Some(ip(&address))));
        }
        for n in 0..10 {
            let address = format!("192.0.{n}.1");
            let mut mine = accepted(&admission, &address);
            let mut request = admission.request(Some(ip(&address))).expect("over TCP, too");
            held.extend((0..20).filter_map(|n| admission.request(Some(ip(&format!("10.0.{n}.1"))))));
            for n in 0..20 {
                let _refused = admission.admit(ip(&format!("10.0.{n}.1")), true);
            }
            assert!(
                mine.gives_way().now_or_never().is_none() && request.gives_way().now_or_never().is_none()
            );
        }
    }

    /// So many milliseconds pass for those who hold a place, however busy the machine is.
    fn pass(admission: &Admission, ms: u64) {
        const NOBODY: u64 = u64::MAX;
        assert!(admission.handshakes.places.lock().leave(NOBODY, ms).is_none());
    }

    /// Whoever sends in the name of others spoils them nothing.
    #[test]
    fn what_was_held_in_a_name_that_nobody_has_shown_is_held_against_nobody() {
        const PATIENCE: Duration = Duration::from_millis(1);
        let limits = Limits { handshakes_max: 2, handshake_timeout_ms: 8, ..Limits::default() };
        for (is_validated, gets_in) in [(false, true), (true, false)] {
            let admission = Admission::new(&Arc::new(limits.clone()));
            let Admitted::Accept(held, _) = admission.admit(ip("192.0.2.1"), is_validated) else {
                panic!("nobody is there")
            };
            let other = accepted(&admission, "198.51.100.1");
            // Far more than those hold theirs who come behind them.
            pass(&admission, 20_000);
            drop((held, other));
            let _others = ["203.0.113.1", "198.18.0.1"].map(|peer| accepted(&admission, peer));
            std::thread::sleep(2 * PATIENCE);
            let comes = admission.admit(ip("192.0.2.1"), true);
            assert_eq!(matches!(comes, Admitted::Accept(..)), gets_in, "{comes:?}");
        }
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
        held.extend((3..9).map(|n| admission.request(Some(ip(&format!("192.0.{n}.1")))).unwrap()));
        assert!(admission.is_crowded());
        held.extend((0..3).map(|_| admission.request(None).expect("a proxy's count for nobody")));
        assert!(admission.request(None).is_none(), "all others have one");
        assert_eq!(admission.requests.places.lock().len(), 10);
        held.push(accepted(&admission, "192.0.2.9"));
        let full = Admission::new(&Arc::new(Limits { connections_max: 1, ..Limits::default() }));
        let _place = full.connection().unwrap();
        assert!(full.connection().is_none() && full.request(Some(peer)).is_some());
        assert!(matches!(full.admit(peer, true), Admitted::Refuse));
    }
}
