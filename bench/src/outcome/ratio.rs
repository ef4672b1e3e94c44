//! Figures that set systems in relation, and what they should be.

use serde::{Deserialize, Serialize};

/// A figure of two systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// As in `delivery p50: quoth over (quinn relay + append)`.
    pub what: String,
    /// The median over the rounds.
    pub median: f64,
    /// One for each round.
    pub rounds: Vec<f64>,
    /// Whether less is better.
    pub less_is_better: bool,
    /// What it should be, where the profile says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<Goal>,
    /// Why it is not held to its goal, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_judged: Option<String>,
    /// Why its floor is doubtful, and with it this figure, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
}

impl Goal {
    /// Whether a value reaches it.
    #[must_use]
    pub fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// Below this the median message is faster than the parts that it is made of, which cannot be; the rest is
/// how much they vary.
const LEAST_OVER_PARTS: f64 = 0.95;

impl Ratio {
    /// Whether the floor was slower than what stands on it, as a disturbed machine makes it: then the ratio
    /// says nothing of the server. It shows where the floor is all that a message needs, a relay and the
    /// disk, and in their medians: of other quantiles the sum is no least.
    #[must_use]
    pub fn is_below_its_floor(&self) -> bool {
        self.what.starts_with("delivery p50: ")
            && self.what.ends_with(" + append)")
            && self.median < LEAST_OVER_PARTS
    }

    /// Where it should go, in words: its goal and whether that is reached, or the better direction. A
    /// doubtful figure reaches and misses nothing.
    #[must_use]
    pub fn aim(&self) -> String {
        let aim = match (self.goal, self.less_is_better) {
            (Some(goal), _) if self.not_judged.is_some() => format!("{goal}: not judged"),
            (Some(goal), _) if self.is_below_its_floor() => {
                format!("{goal}: not judged: the floor was slower than what stands on it")
            }
            (Some(goal), _) if self.doubt.is_some() => format!("{goal}: not judged"),
            (Some(goal), _) if goal.is_reached(self.median) => format!("{goal}: reached"),
            (Some(goal), _) => format!("{goal}: NOT reached"),
            (None, true) => "less".to_owned(),
            (None, false) => "more".to_owned(),
        };
        if self.doubt.is_some() { format!("{aim}, doubtful") } else { aim }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Goal, Ratio};

    #[test]
    fn a_goal_has_a_side() {
        assert!(Goal::AtMost(1.0).is_reached(1.0) && !Goal::AtMost(1.0).is_reached(1.1));
        assert!(Goal::AtLeast(1.0).is_reached(1.0) && !Goal::AtLeast(1.0).is_reached(0.9));
        assert!(!Goal::AtLeast(1.0).is_reached(f64::NAN) && !Goal::AtMost(1.0).is_reached(f64::NAN));
    }

    #[test]
    fn what_stands_on_a_doubtful_floor_is_not_judged() {
        let mut ratio = ratio("delivery p99: quoth over (quinn relay + append)", 2.0);
        assert_eq!(ratio.aim(), "<= 1.25: NOT reached");
        ratio.doubt = Some("it waited".to_owned());
        assert_eq!(ratio.aim(), "<= 1.25: not judged, doubtful");
        ratio.median = 1.0;
        assert_eq!(ratio.aim(), "<= 1.25: not judged, doubtful");
        ratio.not_judged = Some("--rate".to_owned());
        assert_eq!(ratio.aim(), "<= 1.25: not judged, doubtful");
        ratio.goal = None;
        assert_eq!(ratio.aim(), "less, doubtful");
    }

    fn ratio(what: &str, median: f64) -> Ratio {
        let goal = Some(Goal::AtMost(1.25));
        let (what, rounds) = (what.to_owned(), vec![median]);
        Ratio { what, median, rounds, less_is_better: true, goal, not_judged: None, doubt: None }
    }

    #[test]
    fn what_is_faster_than_its_parts_is_not_judged() {
        let aim = |what: &str, median| ratio(what, median).aim();
        let whole = "delivery p50: quoth over (quinn relay + append)";
        assert_eq!(aim(whole, 0.95), "<= 1.25: reached");
        assert_eq!(aim(whole, 0.4), "<= 1.25: not judged: the floor was slower than what stands on it");
        assert_eq!(aim("delivery p99: quoth over (quinn relay + append)", 0.4), "<= 1.25: reached");
        assert_eq!(aim("delivery p50: quoth over quinn relay", 0.4), "<= 1.25: reached");
    }
}
