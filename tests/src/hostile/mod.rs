//! Peers that mean harm, and what honest clients notice of them. The end-to-end tests and the figures have
//! both from here.

pub mod attack;
pub mod first_packets;
pub mod honest;

use std::time::Duration;

/// The value below which 99 of 100 are; zero of none.
#[must_use]
pub fn p99(times: &[Duration]) -> Duration {
    quantile(times, 99)
}

/// The value below which half are; zero of none.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    quantile(times, 50)
}

fn quantile(times: &[Duration], of_100: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * of_100).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// Runs a client to its end, on the calling thread.
pub(crate) fn run<T>(client: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(client)
}
