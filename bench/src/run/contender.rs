//! What is measured in a run, in its order.

use super::{Plan, Running};
use crate::outcome::Role;
use crate::profile::{Floor, Kind, Shape, Transport, Until};
use crate::rival;
use crate::target::QuothOptions;

/// The name of the disk alone, in tables.
pub const APPEND: &str = "append";

/// The server that is measured.
#[derive(Debug, Clone)]
pub enum Subject {
    /// One that is started for it.
    Own(QuothOptions),
    /// One that runs already.
    Running(Running),
}

/// A system of a run, with the shape of its load.
#[derive(Debug, Clone)]
pub struct Contender {
    pub(super) what: What,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// The server, under the profile's load or a variant of it.
    Quoth { variant: Option<String> },
    /// A floor.
    Floor(Floor),
    /// A rival.
    Rival(rival::Kind),
}

/// All that are measured: the server, its variants, the floors, the rivals.
pub(super) fn line_up(plan: &Plan) -> anyhow::Result<Vec<Contender>> {
    let profile = &plan.profile;
    let with = |what| Contender { what, shape: profile.shape.clone() };
    let mut contenders = vec![with(What::Quoth { variant: None })];
    for variant in &profile.variants {
        let what = What::Quoth { variant: Some(variant.name.clone()) };
        contenders.push(Contender { what, shape: variant.apply(&profile.shape) });
    }
    let floor = |floor: &Floor| {
        let shape = Shape { transport: Transport::Quic, ..profile.shape.clone() };
        Contender { what: What::Floor(*floor), shape }
    };
    contenders.extend(profile.floors.iter().map(floor));
    rival::check_programs(&plan.rivals)?;
    for rival in &plan.rivals {
        anyhow::ensure!(
            matches!(profile.kind, Kind::Open | Kind::Closed),
            "rivals are measured under open and closed loops, and this profile is neither"
        );
        let needs_acks = profile.kind == Kind::Closed && profile.shape.window_until == Until::Acked;
        anyhow::ensure!(
            rival.acks() || !needs_acks,
            "{} acks nothing, and this load waits for acks: leave it out, or take window_until = \"delivered\"",
            rival.name()
        );
        contenders.push(with(What::Rival(*rival)));
    }
    Ok(contenders)
}

impl Contender {
    /// As it is called in tables.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.what {
            What::Quoth { variant: None } => "quoth".to_owned(),
            What::Quoth { variant: Some(variant) } => format!("quoth, {variant}"),
            What::Floor(floor) => floor.system().to_owned(),
            What::Rival(kind) => kind.name().to_owned(),
        }
    }

    /// Whether its clients reach it over a network, and not the disk itself.
    pub(super) fn is_behind_the_network(&self) -> bool {
        self.what != What::Floor(Floor::Append)
    }

    pub(super) fn role(&self) -> Role {
        match self.what {
            What::Quoth { .. } => Role::Subject,
            What::Floor(_) => Role::Floor,
            What::Rival(_) => Role::Rival,
        }
    }

    /// What an ack of it means, where it does not say so itself.
    pub(super) fn durability(&self) -> String {
        match &self.what {
            What::Quoth { .. } => "it does not say".to_owned(),
            What::Floor(Floor::Append) => "flushed to the disk (fdatasync), and nothing else".to_owned(),
            What::Floor(_) => "none: nothing is stored".to_owned(),
            What::Rival(kind) => kind.durability().to_owned(),
        }
    }
}
