//! How much a reader that is behind gets from the view at once.
//!
//! A large page costs less for each of its events: a read begins with a look into each table, and is done on
//! another thread. But a page is memory of its reader until that has taken it. So pages are small until a
//! reader has shown that it takes them as fast as they come, and small again as soon as it does not.

use std::time::Duration;

/// The page of a reader of which nothing is known, in bytes.
pub const PAGE_BYTES_MIN: usize = 64 * 1024;

/// The page of one that is in haste, in bytes.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// A reader that has taken its page by then is in haste: 6 MB/s.
const SOON: Duration = Duration::from_millis(10);

/// So many small pages are taken soon before larger ones come, which is more than is under way to a reader
/// without its taking anything: the windows of both sides.
const SOON_IN_A_ROW_MIN: u32 = 8;

/// The size of the next page of one reader.
#[derive(Debug, Clone, Default)]
pub struct PageSize {
    asked_at: Option<Duration>,
    soon_in_a_row: u32,
}

impl PageSize {
    /// The reader asks for a page, since some time before `now`, a time that only grows; gives its bytes.
    pub fn ask(&mut self, now: Duration) -> usize {
        let is_soon = self.asked_at.is_some_and(|asked_at| now.saturating_sub(asked_at) < SOON);
        self.asked_at = Some(now);
        self.soon_in_a_row = if is_soon { self.soon_in_a_row.saturating_add(1) } else { 0 };
        if self.is_in_haste() { PAGE_BYTES_MAX } else { PAGE_BYTES_MIN }
    }

    /// Whether the reader takes pages as fast as they come.
    #[must_use]
    pub const fn is_in_haste(&self) -> bool {
        self.soon_in_a_row >= SOON_IN_A_ROW_MIN
    }

    /// The reader has not taken what there was, or there was nothing for it.
    pub fn rests(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAGE_BYTES_MAX, PAGE_BYTES_MIN, PageSize, SOON, SOON_IN_A_ROW_MIN};

    #[test]
    fn pages_are_large_for_who_takes_them_soon_and_only_as_long() {
        let (mut size, mut now) = (PageSize::default(), Duration::from_secs(1));
        let mut ask = |size: &mut PageSize, after: Duration| {
            now += after;
            size.ask(now)
        };
        let soon = SOON - Duration::from_millis(1);
        for _ in 0..=SOON_IN_A_ROW_MIN - 1 {
            assert_eq!(ask(&mut size, soon), PAGE_BYTES_MIN);
            assert!(!size.is_in_haste());
        }
        for _ in 0..100 {
            assert_eq!(ask(&mut size, soon), PAGE_BYTES_MAX);
            assert!(size.is_in_haste());
        }
        assert_eq!(ask(&mut size, SOON), PAGE_BYTES_MIN, "it took its time");
        for _ in 0..SOON_IN_A_ROW_MIN - 1 {
            assert_eq!(ask(&mut size, soon), PAGE_BYTES_MIN);
        }
        assert_eq!(ask(&mut size, soon), PAGE_BYTES_MAX);
        size.rests();
        assert_eq!(ask(&mut size, soon), PAGE_BYTES_MIN);
    }
}
