//! What the store takes of the disk and of memory.

use crate::config::ranges;
use crate::config::settings::{Kind, Setting, number};

pub(super) const LOG_SEGMENT_BYTES: Setting = Setting {
    key: "store.log_segment_bytes",
    doc: "size of a log segment, in bytes; the log keeps two or three",
    kind: Kind::Number(ranges::LOG_SEGMENT_BYTES),
    set: |c, t| number(&mut c.log_segment_bytes, t),
    get: |c| c.log_segment_bytes.to_string(),
};

pub(super) const VIEW_CACHE_BYTES: Setting = Setting {
    key: "store.view_cache_bytes",
    doc: "memory for the view's block cache, in bytes",
    kind: Kind::Number(ranges::VIEW_CACHE_BYTES),
    set: |c, t| number(&mut c.view_cache_bytes, t),
    get: |c| c.view_cache_bytes.to_string(),
};

pub(super) const RESERVE_BYTES: Setting = Setting {
    key: "store.reserve_bytes",
    doc: "what is held back of the disk, in bytes, so that operators can free space when it is full; 0: nothing. Unless set: 134217728, in development 33554432",
    kind: Kind::Number(ranges::RESERVE_BYTES),
    set: |c, t| number(&mut c.reserve_bytes, t),
    get: |c| c.reserve_bytes.to_string(),
};
