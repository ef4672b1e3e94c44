//! Retention classes: what is kept for about as long is kept together.

/// The ages of the classes, in seconds, ascending: a minute, an hour, a day, a week, 30 and 90 days, a year.
/// Events go with a whole window of their class, which has an eighth of its age.
const AGES_S: [u64; 7] = [60, 3_600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 366 * 86_400];

/// Windows that a class's age is cut into: so much later than its events their space may be free.
const WINDOWS: u64 = 8;

/// With what the view keeps an event together. The default keeps what has no age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u8);

impl Class {
    /// How many there are.
    pub(crate) const COUNT: usize = AGES_S.len() + 2;

    /// What is left of windows of which the rest was taken out. No record is of it.
    pub(crate) const REST: Self = Self(8);

    /// The class of what is kept for so many seconds; 0: without a bound by age.
    #[must_use]
    pub fn of_age_s(age_s: u64) -> Self {
        let holds = AGES_S.iter().zip(1..).find(|(of_class_s, _)| age_s <= **of_class_s);
        match holds {
            Some((_, class)) if age_s > 0 => Self(class),
            _ => Self::default(),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(Self::COUNT).map(Self)
    }

    /// Its number: 0 without an age, then by age.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// For how long, at most, what lies in its windows is kept, as others call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            0 => "no_age",
            1 => "a_minute",
            2 => "an_hour",
            3 => "a_day",
            4 => "a_week",
            5 => "30_days",
            6 => "90_days",
            7 => "a_year",
            _ => "rewritten",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The class of a record with a number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        (number < Self::REST.0).then_some(Self(number))
    }

    /// The same, of a row of the view.
    pub(crate) fn from_stored(number: u8) -> Option<Self> {
        (number <= Self::REST.0).then_some(Self(number))
    }

    /// The time of which a window has events at most, in milliseconds; `None`: of any time. As with a
    /// window's bytes, another value needs another format of the folder.
    pub(crate) fn window_ms(self) -> Option<u64> {
        let age_s = self.index().checked_sub(1).and_then(|at| AGES_S.get(at))?;
        Some(age_s * 1_000 / WINDOWS)
    }
}

const _: () = assert!(Class::REST.index() + 1 == Class::COUNT);

#[cfg(test)]
mod tests {
    use super::Class;

    #[test]
    fn a_class_holds_the_ages_up_to_its_own() {
        let number = |age_s| Class::of_age_s(age_s).number();
        assert_eq!([0, 1, 60, 61, 3_600, 3_601, 366 * 86_400].map(number), [0, 1, 1, 2, 2, 3, 7]);
        assert_eq!([366 * 86_400 + 1, u64::MAX].map(number), [0, 0], "longer than any class");
        assert_eq!(Class::of_age_s(5).window_ms(), Some(7_500));
        assert_eq!(Class::default().window_ms(), None);
        assert_eq!(Class::all().last(), Some(Class::REST));
        assert_eq!(Class::REST.window_ms(), None);
        let number = Class::REST.number();
        assert_eq!((Class::from_number(number), Class::from_stored(number)), (None, Some(Class::REST)));
        assert_eq!(Class::from_stored(number + 1), None);
    }
}
