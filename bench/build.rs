//! Finds out which version and commit the bench is of, which stands in every report.

#[path = "../build/version.rs"]
mod version;

fn main() {
    version::tell(&[
        "bench",
        "protocol",
        "certs",
        "client-sdk/src",
        "client-sdk/cli",
        "build",
        "Cargo.toml",
        "Cargo.lock",
    ]);
}
