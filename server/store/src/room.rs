//! When a disk has no room: the one failure that passes by itself, once somebody has made some.

use std::io::{self, ErrorKind};
use std::time::Duration;

/// How long is waited before something is tried again that found no room.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Whether the operating system has refused for want of room: on the disk, in a quota, or below a limit of
/// file sizes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}
