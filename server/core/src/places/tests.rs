//! Who gets in and who has to go, and a crowd that holds as many places as it can.

use std::collections::HashMap;

use super::{FADE_INTERVAL_MS, LEVELS, Origin, Places, REMEMBERED_MAX, Taken};

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
    let networks = |text: &str| origin(text).networks.map(|network| network.to_string());
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
            assert!(places.leave(honest.remove(0), 0).is_some(), "and is put out by nobody");
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
    // So within a network.
    let mut places = self::places(2);
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert!(take(&mut places, address, 0).unwrap().evicted.is_none());
    }
    assert!(take(&mut places, "192.0.2.3", PATIENCE_MS - 1).is_none());
    let taken = take(&mut places, "192.0.2.3", PATIENCE_MS).unwrap();
    assert_eq!(taken.evicted.as_deref(), Some("192.0.2.1"));
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
        numbers.into_iter().filter(|(number, address)| places.leave(*number, 0).as_ref() == Some(address));
    assert_eq!(left.count(), 8);
    assert!(places.is_empty() && places.shares.is_empty());
    assert!(places.ranks.is_empty() && places.by_address.is_empty());
}

/// Attackers of so many networks, each of which has one place whenever it can get one.
struct Crowd {
    networks: u32,
    /// For how long each holds its place, if it is let.
    holds_ms: u64,
    /// Until when those hold theirs who have one, and its number.
    held: HashMap<u32, (u64, u64)>,
}

/// Whether somebody is of the crowd; honest clients have numbers above it.
type Holder = u32;

impl Crowd {
    fn address(of: u32) -> std::net::IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0001 + (of << 8)).into()
    }

    /// All that have none try to get one.
    fn comes(&mut self, places: &mut Places<Holder>, now_ms: u64) -> Vec<Holder> {
        for (of, (number, until_ms)) in self.held.clone() {
            if until_ms <= now_ms {
                self.held.remove(&of);
                assert_eq!(places.leave(number, now_ms), Some(of));
            }
        }
        let mut put_out = Vec::new();
        for of in (0..self.networks).filter(|of| !self.held.contains_key(of)).collect::<Vec<_>>() {
            let origin = Origin::new(Self::address(of));
            let Ok(Taken { number, evicted }) = places.take(Some(origin), now_ms, of) else { continue };
            self.held.insert(of, (number, now_ms + self.holds_ms));
            if let Some(evicted) = evicted
                && self.held.remove(&evicted).is_none()
            {
                put_out.push(evicted);
            }
        }
        put_out
    }
}

/// One client after the other of a network that was never there comes beside a crowd. Says how many of them
/// did not get in at once, or were put out.
fn turned_away(networks: u32, holds_ms: u64) -> usize {
    const MAX: usize = 16;
    const TICK_MS: usize = 50;
    /// An honest handshake, over a network that is slow.
    const HANDSHAKE_MS: u64 = 300;
    let mut places = Places::new(MAX, PATIENCE_MS);
    let mut crowd = Crowd { networks, holds_ms, held: HashMap::new() };
    let warm_up_ms = u64::from(networks) / MAX as u64 * (PATIENCE_MS + holds_ms) + 2 * PATIENCE_MS;
    let (mut client, mut since_ms, mut turned_away) = (networks, None, 0);
    for now_ms in (0..warm_up_ms + 10_000).step_by(TICK_MS) {
        // Whoever of the crowd is faster comes first.
        let put_out = crowd.comes(&mut places, now_ms);
        if now_ms < warm_up_ms {
            continue;
        }
        match since_ms {
            Some((number, _)) if put_out.contains(&client) => {
                assert!(places.leave(number, now_ms).is_none());
                (turned_away, since_ms) = (turned_away + 1, None);
            }
            Some((number, begun_ms)) if now_ms >= begun_ms + HANDSHAKE_MS => {
                assert_eq!(places.leave(number, now_ms), Some(client));
                since_ms = None;
            }
            Some(_) => {}
            None => {
                client += 1;
                assert!(places.len() > MAX * 3 / 4, "there is room for everybody");
                match places.take(Some(Origin::new(Crowd::address(client))), now_ms, client) {
                    Ok(Taken { number, evicted }) => {
                        evicted.map(|evicted| crowd.held.remove(&evicted).expect("it is of the crowd"));
                        since_ms = Some((number, now_ms));
                    }
                    Err(_) => turned_away += 1,
                }
            }
        }
    }
    assert!(client > networks + 25);
    turned_away
}

/// Beside a crowd a network with many clients, as a carrier's, more of which come than one place would do for.
/// Says how many of them are done, in percent of those for whom the network's part of the time is enough,
/// and how many of those that got in were put out, in percent as well.
fn done_and_put_out(networks: u32, holds_ms: u64) -> (u64, u64) {
    const MAX: usize = 64;
    const TICK_MS: usize = 50;
    const HANDSHAKE_MS: u64 = 200;
    const TIME_MS: u64 = 100_000;
    let mut places = Places::new(MAX, PATIENCE_MS);
    let mut crowd = Crowd { networks, holds_ms, held: HashMap::new() };
    let (mut client, mut clients, mut done, mut put_out) = (networks, HashMap::new(), 0, 0);
    for now_ms in (0..TIME_MS).step_by(TICK_MS) {
        for of in crowd.comes(&mut places, now_ms) {
            assert!(clients.remove(&of).is_some());
            put_out += 1;
        }
        clients.retain(|client, (number, until_ms)| {
            let is_done = *until_ms <= now_ms;
            if is_done {
                assert_eq!(places.leave(*number, now_ms), Some(*client));
                done += 1;
            }
            !is_done
        });
        client += 1;
        let origin = Origin::new(Crowd::address(networks));
        let Ok(Taken { number, evicted }) = places.take(Some(origin), now_ms, client) else { continue };
        clients.insert(client, (number, now_ms + HANDSHAKE_MS));
        if let Some(evicted) = evicted
            && crowd.held.remove(&evicted).is_none()
        {
            assert!(clients.remove(&evicted).is_some());
            put_out += 1;
        }
    }
    let enough = TIME_MS / HANDSHAKE_MS * MAX as u64 / u64::from(networks);
    (done * 100 / enough, put_out * 100 / (done + put_out).max(1))
}

#[test]
fn a_network_with_many_clients_has_its_turn_beside_a_crowd() {
    // Where each of the crowd has a place all the time, who has none from time to time has several at others.
    for (networks, done_min) in [(64, 110), (128, 85)] {
        for holds_ms in [5 * PATIENCE_MS, PATIENCE_MS - 100] {
            let (done, put_out) = done_and_put_out(networks, holds_ms);
            let what = format!("{networks} networks, {holds_ms} ms each: {done} %, {put_out} %");
            assert!(done >= done_min && put_out < 20, "{what}");
        }
    }
}

#[test]
fn networks_many_more_than_places_keep_nobody_out_that_is_new() {
    for networks in [16, 17, 128] {
        // As long as a handshake may last, and as long as one that is not remembered by itself.
        for holds_ms in [5 * PATIENCE_MS, PATIENCE_MS - 100] {
            assert_eq!(turned_away(networks, holds_ms), 0, "{networks} networks, {holds_ms} ms each");
        }
    }
}

#[test]
fn what_was_held_is_remembered_where_places_were_scarce_and_by_whom_it_is_known() {
    let weight = |places: &Places<String>, address: &str| places.weight((0, origin(address).networks[0]));
    let held = |origin: Origin, others: usize| {
        let mut places = places(4);
        let number = places.take(Some(origin), 0, String::new()).unwrap().number;
        (0..others).for_each(|n| drop(take(&mut places, &format!("10.0.{n}.1"), 0)));
        places.leave(number, 3 * PATIENCE_MS).unwrap();
        places
    };
    assert_eq!(weight(&held(origin("192.0.2.1"), 2), "192.0.2.9"), 3);
    assert_eq!(weight(&held(origin("192.0.2.1"), 1), "192.0.2.9"), 0, "there was room");
    assert_eq!(weight(&held(origin("192.0.2.1").claimed(), 2), "192.0.2.9"), 0, "it was another one");
    // All who hold some give them back at once, which is no room for anybody else.
    let mut places = places(4);
    let numbers = (0..4).map(|n| take(&mut places, &format!("10.0.{n}.1"), 0).unwrap().number);
    for number in numbers.collect::<Vec<_>>() {
        places.leave(number, PATIENCE_MS).unwrap();
    }
    assert!((0..4).all(|n| weight(&places, &format!("10.0.{n}.1")) == 1));
    let mut places = held(origin("192.0.2.1"), 2);
    for (after, left) in [(1, 1), (2, 0), (40, 0)] {
        places.pass(after * FADE_INTERVAL_MS);
        assert_eq!(weight(&places, "192.0.2.9"), left, "{after}");
    }
    assert_eq!(places.shares.len(), 2 * LEVELS, "who holds nothing is forgotten in the end");
}

#[test]
fn who_holds_several_at_once_weighs_for_the_time_in_which_it_held_any() {
    let mut places = places(8);
    let held = |places: &mut Places<String>, address: &str| take(places, address, 0).unwrap().number;
    let mut of_one: Vec<_> = (0..4).map(|_| held(&mut places, "192.0.2.1")).collect();
    let _of_other = held(&mut places, "198.51.100.1");
    let network = |address: &str| (0, origin(address).networks[0]);
    for now_s in 1..=10 {
        // One is there before another one goes.
        of_one.push(take(&mut places, "192.0.2.1", now_s * PATIENCE_MS).unwrap().number);
        places.leave(of_one.remove(0), now_s * PATIENCE_MS).unwrap();
        assert_eq!(places.weight(network("192.0.2.1")), 4 + now_s, "all of it counts, and once");
        assert_eq!(places.weight(network("198.51.100.1")), 1 + now_s);
    }
}

#[test]
fn who_has_held_many_waits_behind_who_has_not() {
    let mut places = places(2);
    for round in 0..3 {
        let first = take(&mut places, "192.0.2.1", round * PATIENCE_MS).unwrap().number;
        let other = take(&mut places, &format!("198.51.10{round}.1"), round * PATIENCE_MS).unwrap().number;
        places.leave(first, (round + 1) * PATIENCE_MS).unwrap();
        places.leave(other, (round + 1) * PATIENCE_MS).unwrap();
    }
    let _other = take(&mut places, "198.51.100.1", 2 * PATIENCE_MS).unwrap();
    let now_ms = 3 * PATIENCE_MS;
    assert!(take(&mut places, "203.0.113.1", now_ms).unwrap().evicted.is_none());
    assert!(take(&mut places, "192.0.2.1", now_ms).is_none(), "it is not its turn, though one is old");
    let taken = take(&mut places, "192.0.3.1", now_ms).expect("one that is new");
    assert_eq!(taken.evicted.as_deref(), Some("198.51.100.1"));
    assert_eq!(evicted(&mut places, "192.0.2.1"), Err(()));
}

#[test]
fn not_more_are_remembered_than_fit_and_of_a_site_one() {
    let mut places = places(2);
    let _held = take(&mut places, "192.0.2.1", 0).unwrap();
    let mut now_ms = 0;
    let mut hold = |places: &mut Places<String>, address: std::net::IpAddr| {
        let number = places.take(Some(Origin::new(address)), now_ms, String::new()).unwrap().number;
        now_ms += 1;
        places.leave(number, now_ms).unwrap();
    };
    for n in 0..40_000 {
        let of_site = 0x2001_0db8_0000_0000_0000_0000_0000_0001 + (n << 64);
        hold(&mut places, std::net::Ipv6Addr::from(of_site).into());
    }
    assert_eq!(places.shares.len(), LEVELS + 1);
    for n in 0..40_000 {
        hold(&mut places, std::net::Ipv4Addr::from(0x0a00_0001 + n * 256).into());
        assert!(places.shares.len() <= REMEMBERED_MAX + 3 * LEVELS);
    }
}
