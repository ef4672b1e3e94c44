//! Places of which there are few, as those of handshakes under way: who gives one up when all are taken.
//!
//! An honest handshake is done within a few round trips, and whoever wants to keep others out holds many
//! places for as long as may be. So when all are taken, whoever comes gets a place of the network that
//! has most, the one that has been held longest there. That makes the networks more even each time, so
//! nobody gains by coming again and again, and places change hands no more often than others come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks that an address counts for.
const LEVELS: usize = 3;

/// How long the prefixes of these networks are. Of IPv4: the smallest network that is routed, and the
/// address. Of IPv6: what a site has, what a subscriber has, and one network of it.
const PREFIXES_OF_V4: [u32; LEVELS] = [24, 32, 32];
const PREFIXES_OF_V6: [u32; LEVELS] = [48, 56, 64];

/// Where somebody comes from: the networks that an address is in, the widest one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin([IpAddr; LEVELS]);

impl Origin {
    /// Of an address. One of IPv4 is the same in the form that it has in IPv6.
    #[must_use]
    pub fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(PREFIXES_OF_V4.map(|prefix| {
                let mask = u32::MAX.checked_shl(u32::BITS - prefix).unwrap_or_default();
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            })),
            IpAddr::V6(v6) => Self(PREFIXES_OF_V6.map(|prefix| {
                let mask = u128::MAX.checked_shl(u128::BITS - prefix).unwrap_or_default();
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            })),
        }
    }

    /// What counts as one address: an IPv4 address, or a /64 network of IPv6.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.0[LEVELS - 1]
    }
}

/// A network among those that count: how narrow it is, and what its addresses begin with.
type Network = (usize, IpAddr);

/// A bounded number of places.
#[derive(Debug)]
pub struct Places<T> {
    max: usize,
    patience_ms: u64,
    /// The number of the next one.
    next: u64,
    /// By number, so the oldest one comes first.
    held: BTreeMap<u64, Held<T>>,
    counts: HashMap<Network, usize>,
    /// All of `counts` by the network that they are in, and there by how many they have.
    ranks: BTreeSet<(usize, Option<IpAddr>, usize, IpAddr)>,
    by_address: BTreeSet<(IpAddr, u64)>,
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
    /// So many places. Where all networks have equally many, one that has been held for `patience_ms`
    /// milliseconds is given to others all the same.
    #[must_use]
    pub fn new(max: usize, patience_ms: u64) -> Self {
        Self {
            max,
            patience_ms,
            next: 0,
            held: BTreeMap::new(),
            counts: HashMap::new(),
            ranks: BTreeSet::new(),
            by_address: BTreeSet::new(),
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
        self.count((LEVELS - 1, origin.address()))
    }

    /// Takes a place at `now_ms`, in milliseconds of any clock. Without an origin it counts for no network,
    /// as that of a proxy, behind which there are many; it is given to others only for its age.
    ///
    /// # Errors
    /// There is none, and none that anybody has to give up for this: `holder` comes back.
    pub fn take(&mut self, origin: Option<Origin>, now_ms: u64, holder: T) -> Result<Taken<T>, T> {
        let mut evicted = None;
        if self.held.len() >= self.max {
            let Some(number) = self.to_evict(origin, now_ms) else { return Err(holder) };
            evicted = self.leave(number);
        }
        let number = self.next;
        self.next += 1;
        if let Some(origin) = origin {
            self.change(&origin, |count| count + 1);
            self.by_address.insert((origin.address(), number));
        }
        self.held.insert(number, Held { origin, since_ms: now_ms, holder });
        Ok(Taken { number, evicted })
    }

    /// Gives a place back; its holder, if it still has it.
    pub fn leave(&mut self, number: u64) -> Option<T> {
        let Held { origin, holder, .. } = self.held.remove(&number)?;
        if let Some(origin) = origin {
            self.change(&origin, |count| count - 1);
            self.by_address.remove(&(origin.address(), number));
        }
        Some(holder)
    }

    /// Which place somebody gets: one of a network that has more than the one who comes would have, the
    /// widest such networks first.
    fn to_evict(&self, origin: Option<Origin>, now_ms: u64) -> Option<u64> {
        let mut within = None;
        for level in 0..LEVELS {
            let Some((most, network)) = self.most(level, within) else { break };
            let own = origin.map(|origin| origin.0[level]);
            if most > own.map_or(0, |own| self.count((level, own))) + 1 {
                return self.oldest(level, network);
            }
            if own.is_none() {
                break;
            }
            within = own;
        }
        let (number, oldest) = self.held.first_key_value()?;
        (now_ms.saturating_sub(oldest.since_ms) >= self.patience_ms).then_some(*number)
    }

    /// The oldest place in the part of a network that has most, and of that again.
    fn oldest(&self, mut level: usize, mut network: IpAddr) -> Option<u64> {
        while level < LEVELS - 1 {
            level += 1;
            network = self.most(level, Some(network))?.1;
        }
        self.by_address.range((network, 0)..).next().map(|(_, number)| *number)
    }

    /// Which network has most within a wider one, and how many.
    fn most(&self, level: usize, within: Option<IpAddr>) -> Option<(usize, IpAddr)> {
        let before_next = (level, within, usize::MAX, IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)));
        let (of_level, of, count, network) = self.ranks.range(..=before_next).next_back()?;
        (*of_level == level && *of == within).then_some((*count, *network))
    }

    fn count(&self, network: Network) -> usize {
        self.counts.get(&network).copied().unwrap_or_default()
    }

    fn change(&mut self, origin: &Origin, change: impl Fn(usize) -> usize) {
        let mut within = None;
        for (level, network) in origin.0.into_iter().enumerate() {
            let before = self.count((level, network));
            let after = change(before);
            self.ranks.remove(&(level, within, before, network));
            if after == 0 {
                self.counts.remove(&(level, network));
            } else {
                self.counts.insert((level, network), after);
                self.ranks.insert((level, within, after, network));
            }
            within = Some(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Origin, Places, Taken};

    const PATIENCE_MS: u64 = 1_000;

    fn origin(text: &str) -> Origin {
        Origin::new(text.parse().unwrap())
    }

    /// One whose holders are their addresses.
    fn places(max: usize) -> Places<String> {
        Places::new(max, PATIENCE_MS)
    }

    fn take(places: &mut Places<String>, address: &str, now_ms: u64) -> Option<Taken<String>> {
        let taken = places.take(Some(origin(address)), now_ms, address.to_owned());
        taken.inspect_err(|holder| assert_eq!(holder, address)).ok()
    }

    /// Who has to go for one that comes; an error: it is the one that comes.
    fn evicted(places: &mut Places<String>, address: &str) -> Result<Option<String>, ()> {
        take(places, address, 0).map(|taken| taken.evicted).ok_or(())
    }

    #[test]
    fn what_counts_as_one_address_and_one_network() {
        assert_eq!(origin("::ffff:192.0.2.1"), origin("192.0.2.1"));
        assert_eq!(
            origin("2001:db8:1:203::9").address(),
            "2001:db8:1:203::".parse::<std::net::IpAddr>().unwrap()
        );
        let networks = |text: &str| origin(text).0.map(|network| network.to_string());
        assert_eq!(networks("192.0.2.77"), ["192.0.2.0", "192.0.2.77", "192.0.2.77"]);
        assert_eq!(networks("2001:db8:1:203::9"), ["2001:db8:1::", "2001:db8:1:200::", "2001:db8:1:203::"]);
    }

    /// Twenty networks come as often as they can; whoever comes once gets in all the same, and stays.
    #[test]
    fn many_who_hold_all_places_lock_nobody_out() {
        let mut places = places(256);
        let mut honest = Vec::new();
        for round in 0..200 {
            for network in 0..20 {
                for host in 1..=13 {
                    take(&mut places, &format!("10.0.{network}.{host}"), 0);
                }
            }
            let mine = take(&mut places, &format!("192.0.{round}.1"), 0);
            honest.push(mine.expect("whoever comes gets in").number);
            if honest.len() > 10 {
                assert!(places.leave(honest.remove(0)).is_some(), "and is put out by nobody");
            }
            assert!(places.len() >= 255);
        }
    }

    #[test]
    fn the_whole_of_a_site_is_one_however_many_networks_it_has() {
        let mut places = places(64);
        for network in 0..256 {
            take(&mut places, &format!("2001:db8:0:{network:x}::1"), 0);
        }
        for site in 1..=32 {
            let gone = evicted(&mut places, &format!("2001:db8:{site:x}::1")).expect("there is room");
            assert!(gone.is_some_and(|gone| gone.starts_with("2001:db8:0:")));
        }
        assert_eq!(places.len(), 64);
    }

    #[test]
    fn who_has_most_gives_up_the_oldest_and_the_most_is_told_network_by_network() {
        let mut places = places(6);
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3", "198.51.100.1", "198.51.100.1"] {
            assert_eq!(evicted(&mut places, address), Ok(None));
        }
        // The /24 that has most, and in it the address.
        assert_eq!(evicted(&mut places, "203.0.113.1"), Ok(Some("192.0.2.2".to_owned())));
        // Of equal ones within a network, any.
        assert!(evicted(&mut places, "203.0.113.1").unwrap().unwrap().starts_with("192.0.2."));
        // Nobody has more than this one would then.
        assert_eq!(evicted(&mut places, "203.0.113.1"), Err(()));
        // Within the own network there is one.
        let mut places = self::places(4);
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            assert_eq!(evicted(&mut places, address), Ok(None));
        }
        assert_eq!(evicted(&mut places, "192.0.2.2"), Ok(Some("192.0.2.1".to_owned())));
        assert_eq!(evicted(&mut places, "192.0.2.2"), Err(()), "two and two are even");
        assert!(evicted(&mut places, "192.0.2.3").is_ok());
    }

    #[test]
    fn among_equal_ones_only_age_counts() {
        let mut places = places(2);
        for (address, now_ms) in [("192.0.2.1", 0), ("198.51.100.1", 500)] {
            assert!(take(&mut places, address, now_ms).unwrap().evicted.is_none());
        }
        assert!(take(&mut places, "203.0.113.1", PATIENCE_MS - 1).is_none());
        assert!(places.take(None, PATIENCE_MS - 1, String::new()).is_err());
        let taken = take(&mut places, "203.0.113.1", PATIENCE_MS).unwrap();
        assert_eq!(taken.evicted.as_deref(), Some("192.0.2.1"));
        let taken = places.take(None, PATIENCE_MS + 500, "proxy".to_owned()).unwrap();
        assert_eq!(taken.evicted.as_deref(), Some("198.51.100.1"));
        assert!(take(&mut places, "203.0.113.9", PATIENCE_MS + 501).is_none(), "a proxy's counts for none");
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut places = places(8);
        let mut numbers = HashMap::new();
        for n in 0..50_u32 {
            let address = format!("10.0.{}.{}", n % 7, n % 3);
            if let Some(Taken { number, .. }) = take(&mut places, &address, 0) {
                numbers.insert(number, address);
            }
        }
        let left =
            numbers.into_iter().filter(|(number, address)| places.leave(*number).as_ref() == Some(address));
        assert_eq!(left.count(), 8);
        assert!(places.is_empty() && places.counts.is_empty());
        assert!(places.ranks.is_empty() && places.by_address.is_empty());
    }
}
