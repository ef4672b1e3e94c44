//! What each system of a run speaks with its clients, and which congestion control it has.

use super::contender::{Contender, What};
use super::{Plan, Subject, measure};
use crate::outcome::Link;
use crate::profile::{Floor, Transport};

/// The server's default, which the relay has where the server's own is not known.
const DEFAULT: &str = "bbr";

/// Congestion controls, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Controls {
    /// The server's over QUIC: of one that the bench starts, as its settings say. No server tells its
    /// clients.
    server: Option<String>,
    /// The kernel's for TCP, where floors and rivals run.
    tcp: Option<String>,
    /// The same where the server runs.
    server_tcp: Option<String>,
}

impl Controls {
    /// Asks the server's program and the kernel.
    pub(super) fn find(plan: &Plan) -> Self {
        let tcp = measure::on_clients_side(plan, || {
            Ok(std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?.trim().to_owned())
        });
        let tcp = tcp.ok().filter(|name| !name.is_empty());
        match &plan.subject {
            Subject::Own(options) => {
                Self { server: options.congestion_control(&plan.place), tcp: tcp.clone(), server_tcp: tcp }
            }
            Subject::Running(_) => Self { server: None, tcp, server_tcp: None },
        }
    }

    /// What the relay is given: what the server has, so that what lies between both is the server and not
    /// another control.
    pub(super) fn of_relay(&self) -> &str {
        self.server.as_deref().filter(|name| ["bbr", "cubic"].contains(name)).unwrap_or(DEFAULT)
    }

    /// Between a system and its clients.
    pub(super) fn link(&self, contender: &Contender) -> Option<Link> {
        let quic = |control| Some(link("QUIC", true, control));
        match (&contender.what, contender.shape.transport) {
            (What::Quoth { .. }, Transport::Quic) => quic(self.server.clone()),
            (What::Quoth { .. }, transport) => {
                let tls = transport == Transport::Websocket;
                Some(link("WebSocket over TCP", tls, self.server_tcp.clone()))
            }
            (What::Floor(Floor::Relay), _) => quic(Some(self.of_relay().to_owned())),
            (What::Floor(Floor::Websocket), _) => Some(link("WebSocket over TCP", false, self.tcp.clone())),
            (What::Floor(Floor::Append), _) => None,
            (What::Rival(kind), _) => Some(link(kind.protocol(), kind.is_encrypted(), self.tcp.clone())),
        }
    }
}

fn link(protocol: &str, tls: bool, congestion_control: Option<String>) -> Link {
    Link { protocol: protocol.to_owned(), tls, congestion_control }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn told(controls: &Controls, what: What, transport: Transport) -> String {
        let shape = crate::profile::Shape { transport, ..Profile::find("latency").expect("a profile").shape };
        controls.link(&Contender { what, shape }).map_or_else(|| "none".to_owned(), |link| link.told())
    }

    #[test]
    fn each_system_has_its_own_link() {
        let some = |name: &str| Some(name.to_owned());
        let own = Controls { server: some("cubic"), tcp: some("bbr"), server_tcp: some("bbr") };
        let quoth = || What::Quoth { variant: None };
        assert_eq!(told(&own, quoth(), Transport::Quic), "QUIC with TLS, CUBIC");
        assert_eq!(told(&own, quoth(), Transport::Websocket), "WebSocket over TCP with TLS, BBR");
        assert_eq!(told(&own, quoth(), Transport::WebsocketPlain), "WebSocket over TCP without TLS, BBR");
        // The relay has what the server has.
        assert_eq!(told(&own, What::Floor(Floor::Relay), Transport::Quic), "QUIC with TLS, CUBIC");
        assert_eq!(
            told(&own, What::Floor(Floor::Websocket), Transport::Quic),
            "WebSocket over TCP without TLS, BBR"
        );
        assert_eq!(told(&own, What::Floor(Floor::Append), Transport::Quic), "none");
        let is_behind = |what| {
            let shape = Profile::find("latency").expect("a profile").shape;
            Contender { what, shape }.is_behind_the_network()
        };
        assert!(
            is_behind(quoth())
                && is_behind(What::Floor(Floor::Relay))
                && !is_behind(What::Floor(Floor::Append))
        );
        let running = Controls { server: None, tcp: some("cubic"), server_tcp: None };
        assert_eq!(told(&running, quoth(), Transport::Quic), "QUIC with TLS, congestion control unknown");
        assert_eq!(told(&running, What::Floor(Floor::Relay), Transport::Quic), "QUIC with TLS, BBR");
        let tls = told(&running, quoth(), Transport::Websocket);
        assert_eq!(tls, "WebSocket over TCP with TLS, congestion control unknown");
    }

    #[cfg(feature = "rivals")]
    #[test]
    fn a_rival_says_whether_it_is_encrypted() {
        let controls = Controls { tcp: Some("cubic".to_owned()), ..Controls::default() };
        let of = |name: &str| {
            let kind = crate::rival::Kind::named(name).expect("a rival");
            told(&controls, What::Rival(kind), Transport::Quic)
        };
        assert_eq!(of("nats-core-tls"), "NATS over TCP with TLS, CUBIC");
        assert_eq!(of("jetstream"), "NATS over TCP without TLS, CUBIC");
        assert_eq!(of("mosquitto"), "MQTT over TCP without TLS, CUBIC");
    }
}
