//! UDP sockets of quinn over those of turmoil, with datagrams lost and doubled, and a trace of all that was
//! sent.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use turmoil::net::UdpSocket;

use super::server::PORT;

/// Length of the connection ids that quinn gives out; a client's first guess is longer.
const GIVEN_ID_BYTES: usize = 8;

/// What happens to datagrams besides what turmoil does to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Impairment {
    /// Probability that a datagram is lost.
    pub(super) loss: f64,
    /// Probability that one comes twice.
    pub(super) duplication: f64,
    /// Larger datagrams are lost, in bytes.
    pub(super) mtu_bytes: usize,
}

/// What was sent in a world: when, from where to where, and how long each datagram was. Contents are left
/// out, since TLS draws its keys from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Hash of all of it.
    pub hash: u64,
    /// Datagrams.
    pub datagrams: u64,
}

/// What the sockets of a world share.
#[derive(Debug, Clone)]
pub(super) struct Network(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: StdRng,
    impairment: Impairment,
    hasher: DefaultHasher,
    datagrams: u64,
    /// Connection ids that the server has given out in handshakes since its last start.
    given: BTreeSet<Vec<u8>>,
}

impl Network {
    pub(super) fn new(seed: u64, impairment: Impairment) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self(Arc::new(Mutex::new(State {
            rng,
            impairment,
            hasher: DefaultHasher::new(),
            datagrams: 0,
            given: BTreeSet::new(),
        })))
    }

    /// From now on datagrams are neither lost nor doubled, but for those that are too large.
    pub(super) fn calm(&self) {
        let mut state = self.0.lock();
        (state.impairment.loss, state.impairment.duplication) = (0.0, 0.0);
    }

    pub(super) fn trace(&self) -> Trace {
        let state = self.0.lock();
        Trace { hash: state.hasher.finish(), datagrams: state.datagrams }
    }

    /// The server has lost what it knew.
    pub(super) fn forget_handshakes(&self) {
        self.0.lock().given.clear();
    }

    /// Whether a datagram to the server goes on with a handshake that it lost in a restart. Such datagrams
    /// are lost, since what the server makes of one depends on bits that are encrypted with random keys, and
    /// simulations could not be repeated.
    fn is_of_lost_handshake(&self, datagram: &[u8]) -> bool {
        connection_ids(datagram).is_some_and(|(destination, _)| {
            destination.len() == GIVEN_ID_BYTES && !self.0.lock().given.contains(destination)
        })
    }

    /// Notes a datagram and says how often it goes out.
    fn copies(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) -> usize {
        let mut state = self.0.lock();
        let len = datagram.len();
        if let Some((_, source)) = connection_ids(datagram).filter(|_| from.port() == PORT) {
            state.given.insert(source.to_vec());
        }
        (turmoil::sim_elapsed(), from, to, len).hash(&mut state.hasher);
        state.datagrams += 1;
        let Impairment { loss, duplication, mtu_bytes } = state.impairment;
        let (is_lost, is_doubled) = (state.rng.random_bool(loss), state.rng.random_bool(duplication));
        match is_lost || len > mtu_bytes {
            true => 0,
            false => 1 + usize::from(is_doubled),
        }
    }
}

/// Destination and source of a datagram of a handshake (RFC 9000, 17.2).
fn connection_ids(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = datagram.split_first()?;
    let (destination_len, rest) = rest.get(4..)?.split_first()?;
    let (destination, rest) = rest.split_at_checked(usize::from(*destination_len))?;
    let (source_len, rest) = rest.split_first()?;
    let source = rest.get(..usize::from(*source_len))?;
    (first & 0x80 != 0).then_some((destination, source))
}

/// A simulated socket for a quinn endpoint.
pub(super) struct Socket {
    inner: Arc<UdpSocket>,
    address: SocketAddr,
    network: Network,
    /// The wait for the next datagram, while the socket has none.
    readable: Mutex<Option<Readable>>,
}

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Socket {
    /// Binds a port of the simulated host that runs, which has this name; 0 for a free port.
    pub(super) async fn bind(host: &str, port: u16, network: &Network) -> io::Result<Arc<Self>> {
        let inner = Arc::new(UdpSocket::bind(("0.0.0.0", port)).await?);
        let address = SocketAddr::new(turmoil::lookup(host), inner.local_addr()?.port());
        Ok(Arc::new(Self { inner, address, network: network.clone(), readable: Mutex::default() }))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut readable = self.readable.lock();
        let future = readable.get_or_insert_with(|| {
            let inner = Arc::clone(&self.inner);
            Box::pin(async move { inner.readable().await })
        });
        let result = ready!(future.as_mut().poll(cx));
        // The future holds the socket's lock until it is gone.
        *readable = None;
        Poll::Ready(result)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let (to, datagram) = (transmit.destination, transmit.contents);
        for _ in 0..self.network.copies(self.address, to, datagram) {
            self.inner.try_send_to(datagram, to)?;
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(self.poll_readable(cx))?;
            match self.inner.try_recv_from(buf) {
                Ok((len, _))
                    if self.address.port() == PORT && self.network.is_of_lost_handshake(&buf[..len]) => {}
                Ok((len, addr)) => {
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Turmoil's sockets take every datagram.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
