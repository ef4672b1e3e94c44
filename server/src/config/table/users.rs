//! What users may make, and how much of it.

use crate::config::ranges;
use crate::config::settings::{Kind, Setting, number, parse};

pub(super) const USER_REQUESTS_PER_SECOND_MAX: Setting = Setting {
    key: "limits.user_requests_per_second_max",
    doc: "the same for requests of one user, over all connections. Unless set: 50, in development 0",
    kind: Kind::Number(ranges::PER_SECOND_MAX),
    set: |c, t| number(&mut c.limits.user_requests_per_second_max, t),
    get: |c| c.limits.user_requests_per_second_max.to_string(),
};

pub(super) const USER_ADDS_PER_HOUR_MAX: Setting = Setting {
    key: "limits.user_adds_per_hour_max",
    doc: "users that one user adds to conversations in an hour, and conversations that the user makes, together, all at once or not; \
          not for tokens with publish_as. 0: no limit. Unless set: 500, in development 0",
    kind: Kind::Number(ranges::PER_SECOND_MAX),
    set: |c, t| number(&mut c.limits.user_adds_per_hour_max, t),
    get: |c| c.limits.user_adds_per_hour_max.to_string(),
};

pub(super) const USER_REMOVALS_PER_HOUR_MAX: Setting = Setting {
    key: "limits.user_removals_per_hour_max",
    doc: "members whom one user removes from conversations or bans there in an hour, all at once or not; not for tokens with \
          publish_as. 0: no limit. Unless set: 1,000, in development 0",
    kind: Kind::Number(ranges::PER_SECOND_MAX),
    set: |c, t| number(&mut c.limits.user_removals_per_hour_max, t),
    get: |c| c.limits.user_removals_per_hour_max.to_string(),
};

pub(super) const NAMES_FREELY: Setting = Setting {
    key: "auth.names_freely",
    doc: "let users whose tokens have no `write` make groups and channels under any name that is free. Unless it is set, a name of one's \
          own choosing needs a `write` that has it; those that the server makes need nothing",
    kind: Kind::Boolean,
    set: |c, t| parse(&mut c.names_freely, t, "true or false"),
    get: |c| c.names_freely.to_string(),
};
