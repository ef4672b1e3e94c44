//! Reconnects against kicks, in a thousand orders.
//!
//! One device is signed in. Then somebody signs in on another one, and from there on everything that the
//! network may do is done in a random order: connections break, at once for the one side and later for the
//! other; attempts overtake each other; what the server says arrives or does not. Both clients do what
//! clients do: they come back by themselves until they are told not to.

use std::collections::VecDeque;

use quoth_protocol::{DeviceId, UserId};

use super::{End, Logins, Outcome, Policy, Reason, SessionId, SignIn};
use crate::dice::Dice;

struct Client {
    device: DeviceId,
    generation: u64,
    /// The connection that it takes for good.
    session: Option<SessionId>,
    /// It was told that it is out.
    stopped: bool,
}

/// What is on its way.
#[derive(Debug, Clone, Copy)]
enum Under {
    /// A Hello: whose, and of which generation.
    Hello(usize, u64, SessionId),
    /// The server notices that a connection is gone, with how it takes that.
    Noticed(SessionId, End),
}

struct World {
    logins: Logins,
    clients: [Client; 2],
    under_way: Vec<Under>,
    next_session: u64,
    /// Whether the server has taken in the sign-in that somebody wished.
    has_won: bool,
    log: VecDeque<String>,
}

const WINNER: usize = 1;

impl World {
    fn new(policy: Policy) -> Self {
        let client =
            |id| Client { device: DeviceId::new(id).unwrap(), generation: 0, session: None, stopped: false };
        let clients = [client("first"), client("second")];
        Self {
            logins: Logins::new(policy),
            clients,
            under_way: Vec::new(),
            next_session: 0,
            has_won: false,
            log: VecDeque::new(),
        }
    }

    fn connect(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.generation += 1;
        self.next_session += 1;
        client.session = Some(SessionId(self.next_session));
        self.under_way.push(Under::Hello(who, client.generation, SessionId(self.next_session)));
    }

    /// A client loses its connection and comes back; the server notices at some time.
    fn breaks(&mut self, who: usize) {
        if self.clients[who].stopped {
            return;
        }
        if let Some(session) = self.clients[who].session.take() {
            self.under_way.push(Under::Noticed(session, End::Lost));
        }
        self.connect(who);
    }

    /// The client is told on its connection, if that is the one that it has.
    fn tell(&mut self, session: SessionId, reason: &Reason, arrives: bool) {
        let client = self.clients.iter_mut().find(|client| client.session == Some(session));
        let hears = client.filter(|_| arrives);
        let end = if hears.is_some() { End::Wanted } else { End::Lost };
        if let (Some(client), Reason::Kicked(_)) = (hears, reason) {
            client.stopped = true;
        }
        self.under_way.push(Under::Noticed(session, end));
    }

    fn arrive(&mut self, at: usize, dice: &mut Dice) {
        let under = self.under_way.swap_remove(at);
        self.log.push_back(format!("{under:?}"));
        match under {
            Under::Noticed(session, end) => self.logins.ended(session, end, 0),
            Under::Hello(who, generation, session) => {
                let user = UserId::new("alice").unwrap();
                let device = self.clients[who].device.clone();
                let sign_in = SignIn { session, user: &user, device: &device, generation, platform: "phone" };
                match self.logins.sign_in(&sign_in, 0) {
                    Outcome::Admitted(ejected) => {
                        self.has_won |= who == WINNER;
                        for ejected in ejected {
                            let kicks = matches!(ejected.reason, Reason::Kicked(_));
                            let is_winners = self.clients[WINNER].session == Some(ejected.session);
                            assert!(
                                !(self.has_won && kicks && who != WINNER),
                                "the winner is put out: {:?}",
                                self.log
                            );
                            assert!(!(kicks && is_winners), "the winner is put out: {:?}", self.log);
                            // A connection that the client has left hears nothing.
                            let arrives = dice.below(2) == 0;
                            self.tell(ejected.session, &ejected.reason, arrives);
                        }
                    }
                    Outcome::Refused(reason) => {
                        assert!(
                            who != WINNER || !matches!(reason, Reason::Kicked(_)),
                            "the winner is turned away: {:?}",
                            self.log
                        );
                        self.tell(session, &reason, true);
                    }
                }
            }
        }
    }
}

fn race(policy: Policy, seed: u64) {
    let mut dice = Dice::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut world = World::new(policy);
    world.connect(0);
    world.arrive(0, &mut dice);
    world.connect(WINNER);
    for _ in 0..dice.below(40) {
        match dice.below(4) {
            0 => world.breaks(0),
            1 => world.breaks(WINNER),
            _ if !world.under_way.is_empty() => {
                let at = dice.below(world.under_way.len());
                world.arrive(at, &mut dice);
            }
            _ => {}
        }
    }
    // The network calms down.
    while !world.under_way.is_empty() {
        let at = dice.below(world.under_way.len());
        world.arrive(at, &mut dice);
    }
    assert!(world.has_won, "seed {seed}: {:?}", world.log);
    let user = UserId::new("alice").unwrap();
    let here = world.logins.devices(&user);
    let winner = here.iter().find(|device| device.device == world.clients[WINNER].device);
    let winner = winner.unwrap_or_else(|| panic!("seed {seed}: the winner is out: {:?}", world.log));
    let session = world.clients[WINNER].session.unwrap();
    assert_eq!(winner.sessions, [session], "seed {seed}: {:?}", world.log);
    assert_eq!(here.len(), 1, "seed {seed}: both are in: {:?}", world.log);
}

#[test]
fn no_order_of_arrivals_puts_out_the_winner() {
    for seed in 0..1_000 {
        for policy in [Policy::OneDevice, Policy::OnePerClass, Policy::Newest { devices_max: 1 }] {
            race(policy, seed);
        }
    }
}
