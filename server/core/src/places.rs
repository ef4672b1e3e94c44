//! Places of which there are few, as those of handshakes under way: who gives one up when all are taken.
//!
//! An honest handshake is done within a few round trips, and whoever wants to keep others out holds many
//! places for as long as may be. So when all are taken, whoever comes gets a place of the network that
//! has most, the one that has been held longest there. That makes the networks more even each time, so
//! nobody gains by coming again and again, and places change hands no more often than others come.
//!
//! With as many networks as there are places none needs more than one. So what a network has held of late
//! counts beside what it holds, as far as places were scarce by then: whoever takes turns is known by it,
//! and who is new comes first. It is the time in which it held at least one: a network with many clients,
//! each for a moment, weighs no more than one that keeps a place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that an address counts for.
const LEVELS: usize = 3;

/// How long the prefixes of these networks are. Of IPv4: the smallest network that is routed, and the
/// address. Of IPv6: what a site has, what a subscriber has, and one network of it.
const PREFIXES_OF_V4: [u32; LEVELS] = [24, 32, 32];
const PREFIXES_OF_V6: [u32; LEVELS] = [48, 56, 64];

/// How often half of what was held of late is forgotten, in milliseconds.
const FADE_INTERVAL_MS: u64 = 60_000;

/// Networks that are remembered, about 4 MB of them. When there are more, all are forgotten by half.
const REMEMBERED_MAX: usize = 32_768;

/// Where somebody comes from: the networks that an address is in, the widest one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    networks: [IpAddr; LEVELS],
    is_shown: bool,
}

impl Origin {
    /// Of an address where somebody gets what is sent there. One of IPv4 is the same in the form that it has
    /// in IPv6.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        let networks = match address.to_canonical() {
            IpAddr::V4(v4) => PREFIXES_OF_V4.map(|prefix| {
                let mask = u32::MAX.checked_shl(u32::BITS - prefix).unwrap_or_default();
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }),
            IpAddr::V6(v6) => PREFIXES_OF_V6.map(|prefix| {
                let mask = u128::MAX.checked_shl(u128::BITS - prefix).unwrap_or_default();
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }),
        };
        Self { networks, is_shown: true }
    }

    /// The same of an address in whose name anybody may have sent: when its place is given back, that is
    /// remembered against nobody.
    #[must_use]
    pub const fn claimed(self) -> Self {
        Self { is_shown: false, ..self }
    }

    /// What counts as one address: an IPv4 address, or a /64 network of IPv6.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.networks[LEVELS - 1]
    }
}

/// A network among those that count: how narrow it is, and what its addresses begin with.
type Network = (usize, IpAddr);

/// What a network has, and the widest one has had.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Places that it holds.
    count: usize,
    /// How many of these are remembered against it.
    shown_count: usize,
    /// For how long it held at least one of those, as far as that is remembered.
    past_ms: u64,
    /// Up to when that is counted, in the time in which places were scarce.
    counted_ms: u64,
}

/// A bounded number of places.
#[derive(Debug)]
pub struct Places<T> {
    max: usize,
    patience_ms: u64,
    /// The number of the next one.
    next: u64,
    /// By number, so the oldest one comes first.
    held: BTreeMap<u64, Held<T>>,
    shares: HashMap<Network, Share>,
    /// The networks that hold places, by the network that they are in, and there by their weight as it was
    /// when they took or gave back one.
    ranks: BTreeSet<(usize, Option<IpAddr>, u64, IpAddr)>,
    by_address: BTreeSet<(IpAddr, u64)>,
    /// Up to when time has passed, and in how much of it places were scarce.
    passed_ms: u64,
    scarce_ms: u64,
    /// Up to when what was held is forgotten by half.
    faded_ms: u64,
}

#[derive(Debug)]
struct Held<T> {
    origin: Option<Origin>,
    since_ms: u64,
    holder: T,
}

/// A place that somebody got.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken<T> {
    /// Its number, by which it is given back.
    pub number: u64,
    /// Who has it no more for that.
    pub evicted: Option<T>,
}

impl<T> Places<T> {
    /// So many places. `patience_ms` milliseconds are what an honest holder needs one for. Where all networks
    /// weigh the same, one that has been held for so long is given to others, and who has held any for so
    /// long weighs as one that holds a place more.
    #[must_use]
    pub fn new(max: usize, patience_ms: u64) -> Self {
        Self {
            max,
            patience_ms,
            next: 0,
            held: BTreeMap::new(),
            shares: HashMap::new(),
            ranks: BTreeSet::new(),
            by_address: BTreeSet::new(),
            passed_ms: 0,
            scarce_ms: 0,
            faded_ms: 0,
        }
    }

    /// How many are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many an address has.
    #[must_use]
    pub fn of_address(&self, origin: &Origin) -> usize {
        self.share((LEVELS - 1, origin.address())).count
    }

    /// Takes a place at `now_ms`, in milliseconds of any clock. Without an origin it counts for no network,
    /// as that of a proxy, behind which there are many; it is given to others only for its age.
    ///
    /// # Errors
    /// There is none, and none that anybody has to give up for this: `holder` comes back.
    pub fn take(&mut self, origin: Option<Origin>, now_ms: u64, holder: T) -> Result<Taken<T>, T> {
        self.pass(now_ms);
        let mut evicted = None;
        if self.held.len() >= self.max {
            let Some(number) = self.to_evict(origin, now_ms) else { return Err(holder) };
            evicted = self.leave(number, now_ms);
        }
        let number = self.next;
        self.next += 1;
        if let Some(origin) = origin {
            self.change(&origin, |share| {
                share.count += 1;
                share.shown_count += usize::from(origin.is_shown);
            });
            self.by_address.insert((origin.address(), number));
        }
        self.held.insert(number, Held { origin, since_ms: now_ms, holder });
        Ok(Taken { number, evicted })
    }

    /// Gives a place back at `now_ms`; its holder, if it still has it.
    pub fn leave(&mut self, number: u64, now_ms: u64) -> Option<T> {
        self.pass(now_ms);
        let Held { origin, holder, .. } = self.held.remove(&number)?;
        if let Some(origin) = origin {
            self.change(&origin, |share| {
                share.count -= 1;
                share.shown_count -= usize::from(origin.is_shown);
            });
            self.by_address.remove(&(origin.address(), number));
            if self.shares.len() > LEVELS * self.max + REMEMBERED_MAX {
                self.fade();
            }
        }
        Some(holder)
    }

    /// Which place somebody gets: one of a network that weighs more than the one who comes would then, the
    /// widest such networks first.
    fn to_evict(&self, origin: Option<Origin>, now_ms: u64) -> Option<u64> {
        let mut within = None;
        for level in 0..LEVELS {
            let Some((most, network)) = self.heaviest(level, within) else { break };
            let own = origin.map(|origin| origin.networks[level]);
            if most > own.map_or(0, |own| self.weight((level, own))) + 1 {
                return self.oldest(level, network);
            }
            if own.is_none() {
                break;
            }
            within = own;
        }
        let (number, oldest) = self.held.first_key_value()?;
        let is_due = now_ms.saturating_sub(oldest.since_ms) >= self.patience_ms;
        let [comes, goes] = [origin, oldest.origin].map(|origin| origin.map(|origin| origin.networks[0]));
        let weight = |network: Option<IpAddr>| network.map(|network| self.weight((0, network)));
        // Of whoever would weigh more by it than the other one does, others would take it before it is of use.
        let is_lighter = weight(comes).unwrap_or(0) < weight(goes).unwrap_or(1);
        (is_due && (comes == goes || is_lighter)).then_some(*number)
    }

    /// The oldest place in the part of a network that weighs most, and of that again.
    fn oldest(&self, mut level: usize, mut network: IpAddr) -> Option<u64> {
        while level < LEVELS - 1 {
            level += 1;
            network = self.heaviest(level, Some(network))?.1;
        }
        self.by_address.range((network, 0)..).next().map(|(_, number)| *number)
    }

    /// Which network that holds places weighs most within a wider one, and how much.
    fn heaviest(&self, level: usize, within: Option<IpAddr>) -> Option<(u64, IpAddr)> {
        let before_next = (level, within, u64::MAX, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        let (of_level, of, weight, network) = self.ranks.range(..=before_next).next_back()?;
        (*of_level == level && *of == within).then_some((*weight, *network))
    }

    fn share(&self, network: Network) -> Share {
        self.shares.get(&network).copied().unwrap_or_default()
    }

    /// What a network weighs at the moment.
    fn weight(&self, network: Network) -> u64 {
        self.share(network).counted(network.0, self.scarce_ms).weight(self.patience_ms)
    }

    fn change(&mut self, origin: &Origin, change: impl Fn(&mut Share)) {
        let mut within = None;
        for (level, network) in origin.networks.into_iter().enumerate() {
            let before = self.share((level, network));
            let mut after = before.counted(level, self.scarce_ms);
            change(&mut after);
            self.ranks.remove(&(level, within, before.weight(self.patience_ms), network));
            if after.count > 0 {
                self.ranks.insert((level, within, after.weight(self.patience_ms), network));
            }
            if after.count == 0 && after.past_ms == 0 {
                self.shares.remove(&(level, network));
            } else {
                self.shares.insert((level, network), after);
            }
            within = Some(network);
        }
    }

    fn is_scarce(&self) -> bool {
        self.held.len() > self.max / 2
    }

    /// Time passes, with these places held until now.
    fn pass(&mut self, now_ms: u64) {
        // Where there is room for others it harms nobody that one is held.
        if self.is_scarce() {
            self.scarce_ms += now_ms.saturating_sub(self.passed_ms);
        }
        self.passed_ms = self.passed_ms.max(now_ms);
        let passed = now_ms.saturating_sub(self.faded_ms) / FADE_INTERVAL_MS;
        self.faded_ms += passed * FADE_INTERVAL_MS;
        // Behind so many nothing is left.
        (0..passed.min(u64::BITS.into())).for_each(|_| self.fade());
    }

    /// Forgets half of what was held, and who has held little.
    fn fade(&mut self) {
        let little_ms = self.patience_ms / 4;
        self.shares.retain(|_, share| {
            share.past_ms /= 2;
            share.count > 0 || share.past_ms > little_ms
        });
        self.ranks.clear();
        for origin in self.held.values().filter_map(|held| held.origin) {
            let mut within = None;
            for (level, network) in origin.networks.into_iter().enumerate() {
                let weight =
                    self.shares.get(&(level, network)).map_or(0, |share| share.weight(self.patience_ms));
                self.ranks.insert((level, within, weight, network));
                within = Some(network);
            }
        }
    }
}

impl Share {
    /// The same with what was held up to now. Only the widest networks are remembered: more of the narrow ones
    /// than fit are within one site.
    fn counted(self, level: usize, scarce_ms: u64) -> Self {
        let is_held = level == 0 && self.shown_count > 0;
        let held_ms = if is_held { scarce_ms - self.counted_ms } else { 0 };
        Self { past_ms: self.past_ms.saturating_add(held_ms), counted_ms: scarce_ms, ..self }
    }

    fn weight(self, patience_ms: u64) -> u64 {
        self.past_ms.checked_div(patience_ms).unwrap_or_default().saturating_add(self.count as u64)
    }
}

#[cfg(test)]
mod tests;
