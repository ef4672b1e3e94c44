//! How long what is kept, and when the rest is gone.

use crate::config::ranges;
use crate::config::settings::{Kind, Setting, array, classes, number};

pub(super) const CLASSES: Setting = Setting {
    key: "retention.classes",
    doc: "how long conversations are kept that have no policy of their own, by name, the first that fits: [\"NAME:PATTERN+PATTERN:age_s=S&count=N&bytes=N\"], or tables. A class keeps for ever with no bound behind its last colon. With --set, once, with commas between the classes",
    kind: Kind::Classes,
    set: |c, t| classes(&mut c.retention.classes, t),
    get: |c| array(&c.retention.classes),
};

pub(super) const INTERVAL_S: Setting = Setting {
    key: "retention.interval_s",
    doc: "how often the space of what is absent is freed, in seconds; ten times within retention.erasure_max_s at least",
    kind: Kind::Number(ranges::RETENTION_INTERVAL_S),
    set: |c, t| number(&mut c.retention.interval_s, t),
    get: |c| c.retention.interval_s.to_string(),
};

pub(super) const ERASURE_MAX_S: Setting = Setting {
    key: "retention.erasure_max_s",
    doc: "how long what was revoked or erased may be on the disk",
    kind: Kind::Number(ranges::RETENTION_ERASURE_MAX_S),
    set: |c, t| number(&mut c.retention.erasure_max_s, t),
    get: |c| c.retention.erasure_max_s.to_string(),
};

pub(super) const REWRITE_BYTES_PER_S: Setting = Setting {
    key: "retention.rewrite_bytes_per_s",
    doc: "how fast is read and written what stays where others have become absent",
    kind: Kind::Number(ranges::RETENTION_REWRITE_BYTES_PER_S),
    set: |c, t| number(&mut c.retention.rewrite_bytes_per_s, t),
    get: |c| c.retention.rewrite_bytes_per_s.to_string(),
};
