//! Certificates: development CA and leaf, PEM loading, reload.
