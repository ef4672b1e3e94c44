//! Why certificates cannot be made, loaded or used.

use std::io;
use std::path::PathBuf;

/// Why certificates cannot be made, loaded or used. The text says which file, what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check the path and that this user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file or its folder cannot be written.
    #[error("cannot write {}: {source}; check that the folder is writable and the disk is not full", path.display())]
    Write {
        /// The file or the folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file holds no PEM section of the kind that is needed, or a broken one.
    #[error("no {wanted} in {}: {reason}; it must be a PEM file with a section `-----BEGIN {label}-----`", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// The PEM label of what was looked for.
        label: &'static str,
        /// What was found instead.
        reason: String,
    },
    /// The private key is not the one that the certificate was made for.
    #[error(
        "the key in {} does not belong to the first certificate in {}; give the two files of one certificate, \
         the chain with the server's own certificate first",
        key_path.display(),
        chain_path.display()
    )]
    KeyMismatch {
        /// The file with the certificate chain.
        chain_path: PathBuf,
        /// The file with the private key.
        key_path: PathBuf,
    },
    /// A certificate or key is of a kind that cannot be used, or damaged.
    #[error("cannot use {}: {reason}; give an X.509 certificate with an ECDSA, Ed25519 or RSA key", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        reason: String,
    },
    /// A certificate is sound, but no client accepts it from a server.
    #[error("no client accepts {} as a server's certificate: {reason}", path.display())]
    NotForServers {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The development CA is there but cannot sign. It is not replaced silently, since clients may trust it.
    #[error(
        "the development CA in {} cannot be used: {reason}; restore ca.pem and ca-key.pem, or remove both to have a new CA \
         made, and have clients trust the new ca.pem",
        dir.display()
    )]
    DevelopmentCa {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A name cannot stand in a certificate.
    #[error("`{name}` cannot be a certificate's name; give a DNS name in ASCII or an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate or key cannot be made.
    #[error("cannot make a development certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// The TLS library refuses the configuration.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}
