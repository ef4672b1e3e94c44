//! A flood of first packets from a pool of addresses, each of which begins a handshake that is never
//! finished.
//!
//! Each packet is whole: a server can decrypt it, and finds a ClientHello to answer in it. All have the same
//! hello, with X25519 alone, so that it fits in one packet; what differs is the connection id, and so the
//! keys and each byte on the wire.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use quinn::udp::{Transmit, UdpSockRef, UdpSocketState};
use quoth_protocol::ALPN;
use rand::RngExt as _;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::quic::{ClientConnection, Suite, Version};
use rustls::{ClientConfig, RootCertStore, Side};

use crate::threads::{cpu_s, this_thread};

/// What a client's first datagram has at least (RFC 9000, 14.1).
const DATAGRAM_BYTES: usize = 1_200;

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// Packets that are sent in one go.
const BATCH: u32 = 20;

/// A client's choice; as long as quinn's first ones.
const CONNECTION_ID_BYTES: usize = 20;

/// The transport parameter `initial_source_connection_id` (RFC 9000, 18.2) of a client whose own id is empty,
/// and no other.
const TRANSPORT_PARAMETERS: &[u8] = &[0x0f, 0];

/// First packets, all of them different.
#[derive(Debug)]
pub struct FirstPackets {
    packets: Vec<u8>,
}

/// What a flood was.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// Packets that the kernel has taken.
    pub sent: u64,
    /// How long it lasted.
    pub lasted: Duration,
    /// Processor time of the thread that has sent them, in seconds: on the machine of the server, which is
    /// short of as much.
    pub cpu_s: f64,
}

impl Flood {
    /// The rate that was really reached.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.sent as f64 / self.lasted.as_secs_f64()
    }
}

impl FirstPackets {
    /// Makes so many.
    ///
    /// # Errors
    /// When TLS makes no hello, or one that is too long.
    pub fn make(count: usize) -> anyhow::Result<Self> {
        let hello = client_hello()?;
        let suite = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
        let suite = suite.and_then(rustls::Tls13CipherSuite::quic_suite).context("no suite for QUIC")?;
        let mut packets = Vec::with_capacity(count * DATAGRAM_BYTES);
        for _ in 0..count {
            packets.extend(first_packet(&suite, &hello)?);
        }
        Ok(Self { packets })
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.packets.chunks_exact(DATAGRAM_BYTES)
    }

    /// Checks that a server which has nothing else to do answers one of them with its side of the handshake.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(&self, server: SocketAddr) -> anyhow::Result<()> {
        // A Retry and a close are far shorter.
        const ANSWER_BYTES_MIN: usize = 1_000;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(self.each().next().context("a packet")?)?;
        let mut answer = [0; 2 * DATAGRAM_BYTES];
        let bytes = socket.recv(&mut answer).context("the server does not answer a first packet")?;
        ensure!(bytes >= ANSWER_BYTES_MIN, "the server answers with {bytes} bytes, which is no handshake");
        Ok(())
    }

    /// Sends them at a rate until told to end, again from the beginning when all are sent, each from another
    /// address of 127.1.0.0/16 than the one before. Whatever is answered is not read.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn flood(&self, server: SocketAddr, per_second: u32, ends: &AtomicBool) -> anyhow::Result<Flood> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let thread = this_thread()?;
        let addresses = (1..=u16::MAX).map(|n| {
            let [high, low] = n.to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        });
        let (began, cpu_before_s) = (Instant::now(), cpu_s(thread)?);
        let (mut due, mut sent) = (0_u32, 0);
        let mut all = self.each().cycle().zip(addresses.cycle());
        while !ends.load(Ordering::Relaxed) {
            for (contents, from) in all.by_ref().take(BATCH as usize) {
                let transmit = Transmit {
                    destination: server,
                    ecn: None,
                    contents,
                    segment_size: None,
                    src_ip: Some(from.into()),
                };
                // What does not fit anywhere is lost, as on any way.
                sent += u64::from(state.try_send(UdpSockRef::from(&socket), &transmit).is_ok());
            }
            due += BATCH;
            let at = Duration::from_secs(1).mul_f64(f64::from(due) / f64::from(per_second));
            std::thread::sleep(at.saturating_sub(began.elapsed()));
        }
        Ok(Flood { sent, lasted: began.elapsed(), cpu_s: cpu_s(thread)? - cpu_before_s })
    }

    /// Floods while something is done, and gives what came of both.
    ///
    /// # Errors
    /// When either fails.
    pub fn flood_while<T>(
        &self,
        server: SocketAddr,
        per_second: u32,
        what: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Flood, T)> {
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let floods = scope.spawn(|| self.flood(server, per_second, &ends));
            let done = what();
            ends.store(true, Ordering::Relaxed);
            let flood = floods.join().map_err(|_| anyhow!("the flood panicked"))?;
            Ok((flood?, done?))
        })
    }
}

/// What a client says first, as TLS has it.
fn client_hello() -> anyhow::Result<Vec<u8>> {
    let provider =
        CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let (name, parameters) = ("localhost".try_into()?, TRANSPORT_PARAMETERS.to_vec());
    let mut connection = ClientConnection::new(Arc::new(config), Version::V1, name, parameters)?;
    let mut hello = Vec::new();
    if connection.write_hs(&mut hello).is_some() {
        bail!("a client has keys before its hello");
    }
    Ok(hello)
}

/// A varint of two bytes (RFC 9000, 16).
fn varint(value: usize) -> anyhow::Result<[u8; 2]> {
    ensure!(value < 1 << 14, "{value} is too much for two bytes");
    Ok((0x4000 | u16::try_from(value)?).to_be_bytes())
}

/// An Initial packet with a hello and a connection id of its own (RFC 9000, 17.2.2; RFC 9001, 5).
fn first_packet(suite: &Suite, hello: &[u8]) -> anyhow::Result<Vec<u8>> {
    /// A long header, Initial, with a packet number of four bytes.
    const FIRST_BYTE: u8 = 0b1100_0011;
    const PACKET_NUMBER: [u8; 4] = [0; 4];
    const CRYPTO: u8 = 0x06;
    let destination: [u8; CONNECTION_ID_BYTES] = rand::rng().random();
    let keys = suite.keys(&destination, Side::Client, Version::V1).local;
    let mut packet = vec![FIRST_BYTE];
    packet.extend(1_u32.to_be_bytes());
    packet.push(u8::try_from(CONNECTION_ID_BYTES)?);
    packet.extend(destination);
    // No id of its own, and no token.
    packet.extend([0, 0]);
    packet.extend(varint(DATAGRAM_BYTES - packet.len() - 2)?);
    let number_at = packet.len();
    packet.extend(PACKET_NUMBER);
    let header_bytes = packet.len();
    packet.extend([CRYPTO, 0]);
    packet.extend(varint(hello.len())?);
    packet.extend(hello);
    let sealed_bytes = DATAGRAM_BYTES - keys.packet.tag_len();
    ensure!(packet.len() <= sealed_bytes, "a hello of {} bytes does not fit in one packet", hello.len());
    packet.resize(sealed_bytes, 0);
    let (header, payload) = packet.split_at_mut(header_bytes);
    let tag = keys.packet.encrypt_in_place(0, header, payload)?;
    packet.extend(tag.as_ref());
    let sample_at = number_at + PACKET_NUMBER.len();
    let sample = packet[sample_at..sample_at + keys.header.sample_len()].to_vec();
    let (head, rest) = packet.split_at_mut(number_at);
    let first = head.first_mut().context("a first byte")?;
    keys.header.encrypt_in_place(&sample, first, &mut rest[..PACKET_NUMBER.len()])?;
    Ok(packet)
}
