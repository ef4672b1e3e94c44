//! The bytes of a TCP connection, plain or with TLS. No IO: bytes go in and come out.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, BytesMut};
use rustls::{ClientConfig, ClientConnection};

/// What lies between the socket's bytes and the protocol's.
#[derive(Debug)]
pub(super) enum Secure {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Box<ClientConnection>),
}

impl Secure {
    /// TLS when there is a configuration.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub(super) fn new(config: Option<Arc<ClientConfig>>) -> anyhow::Result<Self> {
        let Some(config) = config else { return Ok(Self::Plain) };
        let mut connection = ClientConnection::new(config, "localhost".try_into()?)?;
        // What is written before the handshake has ended waits there; the link bounds it.
        connection.set_buffer_limit(None);
        Ok(Self::Tls(Box::new(connection)))
    }

    /// Moves all of `plain` into `sealed`, which is empty, with what the handshake has to say.
    pub(super) fn seal(&mut self, plain: &mut BytesMut, sealed: &mut BytesMut) -> anyhow::Result<()> {
        match self {
            Self::Plain => std::mem::swap(plain, sealed),
            Self::Tls(connection) => {
                connection.writer().write_all(plain)?;
                plain.clear();
                while connection.wants_write() {
                    connection.write_tls(&mut sealed.writer())?;
                }
            }
        }
        Ok(())
    }

    /// Moves all of `sealed` to the end of `plain`.
    pub(super) fn open(&mut self, sealed: &mut BytesMut, plain: &mut BytesMut) -> anyhow::Result<()> {
        match self {
            Self::Plain if plain.is_empty() => std::mem::swap(sealed, plain),
            Self::Plain => plain.unsplit(sealed.split()),
            Self::Tls(connection) => {
                while !sealed.is_empty() {
                    connection.read_tls(&mut (&mut *sealed).reader())?;
                    let here = connection.process_new_packets()?.plaintext_bytes_to_read();
                    let at = plain.len();
                    plain.resize(at + here, 0);
                    connection.reader().read_exact(&mut plain[at..])?;
                }
            }
        }
        Ok(())
    }

    /// Says that nothing more will be written.
    pub(super) fn end(&mut self) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
        }
    }
}
