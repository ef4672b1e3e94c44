//! The servers' configurations. What differs from their defaults is said here, with its reason.

use std::net::SocketAddr;
use std::path::Path;

use quoth_certs::DevCertificates;

use super::{Kind, Product};

/// The configuration of a kind that listens at an address and has its data in a folder.
pub(super) fn text(kind: Kind, listen: SocketAddr, dir: &Path, tls: Option<&DevCertificates>) -> String {
    match kind.product {
        Product::Mosquitto => mosquitto(listen, tls),
        Product::NatsCore => nats(listen, tls),
        // 429 is answered beyond 10,000 messages or 128 MB that wait for the stream: what a load on a
        // schedule brings while a disk stalls, and other servers take by flow control.
        Product::JetStream | Product::JetStreamDefault => {
            let sync = if kind.product == Product::JetStream { "sync_interval: always" } else { "" };
            let dir = dir.display();
            nats(listen, tls)
                + &format!(
                    "jetstream {{\n\
                     store_dir: \"{dir}\"\n\
                     max_buffered_msgs: 1000000\n\
                     max_buffered_size: 1GB\n\
                     {sync}\n\
                     }}\n"
                )
        }
    }
}

/// nats-server's, without storage.
///
/// - A reader is dropped when 64 MB wait for it or a write takes 10 s. In a fan-out to thousands of readers
///   on a machine that also runs them, both come from the machine, not from the reader: 256 MB and a minute.
/// - A TLS handshake may take 2 s, which thousands at once exceed: half a minute.
/// - 65,536 connections are its default; it stands here to be seen.
fn nats(listen: SocketAddr, tls: Option<&DevCertificates>) -> String {
    // nats-server takes -1 for a port that the system chooses.
    let port = if listen.port() == 0 { "-1".to_owned() } else { listen.port().to_string() };
    let host = match listen {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    };
    let tls = tls.map(|files| {
        let (leaf, key) = (files.leaf_pem_path.display(), files.leaf_key_pem_path.display());
        format!("tls {{\ncert_file: \"{leaf}\"\nkey_file: \"{key}\"\ntimeout: 30\n}}\n")
    });
    format!(
        "server_name: quoth-bench\n\
         listen: \"{host}:{port}\"\n\
         max_connections: 65536\n\
         max_pending: 256MB\n\
         write_deadline: \"60s\"\n\
         {}",
        tls.unwrap_or_default()
    )
}

/// mosquitto's.
///
/// - Nagle's algorithm is on by default and holds acks back: off.
/// - Messages are dropped without a word when 1,000 wait for a reader: no limit.
/// - Started by root, it would become a user that may not read the certificate: it stays root.
fn mosquitto(listen: SocketAddr, tls: Option<&DevCertificates>) -> String {
    let (ip, port) = (listen.ip(), listen.port());
    let tls = tls.map(|files| {
        let (leaf, key) = (files.leaf_pem_path.display(), files.leaf_key_pem_path.display());
        format!("certfile {leaf}\nkeyfile {key}\n")
    });
    format!(
        "listener {port} {ip}\n\
         {}\
         allow_anonymous true\n\
         persistence false\n\
         set_tcp_nodelay true\n\
         max_queued_messages 0\n\
         connection_messages false\n\
         sys_interval 0\n\
         user root\n\
         log_dest stderr\n",
        tls.unwrap_or_default()
    )
}
