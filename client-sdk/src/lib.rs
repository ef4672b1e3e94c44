//! Quoth's native client: conversations as durable streams over QUIC.
