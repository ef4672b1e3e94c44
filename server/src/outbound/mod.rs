//! Requests that the server itself makes: one client, for everything that it asks others.
//!
//! What it is given is a URL from the configuration, never one of a client's. Redirects are not followed,
//! answers have a size and a time, and TLS is 1.3.

mod client;
mod url;

pub use client::{Answer, Client, Failure, Limits};
pub use url::Url;
