//! Ends that callers give.

use super::problem::Problem;

/// When something ends that holds from `now_ms` on, in milliseconds since 1970; without an end `u64::MAX`:
/// never.
///
/// # Errors
/// When the end has passed. What is to hold would not, which the caller has not asked for: such ends are
/// mostly given in seconds.
pub(super) fn end_of(given_ms: Option<u64>, now_ms: u64) -> Result<u64, Problem> {
    match given_ms {
        Some(end_ms) if end_ms <= now_ms => Err(Problem::invalid(format!(
            "the end {end_ms} has passed: milliseconds since 1970 are wanted, and it is {now_ms} now; to end it at once there is a \
             call of its own"
        ))),
        Some(end_ms) => Ok(end_ms),
        None => Ok(u64::MAX),
    }
}
