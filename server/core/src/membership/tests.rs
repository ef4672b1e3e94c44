//! Rules that do not depend on who asks, and that events and registers come to the same.

use quoth_protocol::limits::{BANS_MAX, FORMER_MEMBERS_MAX};
use quoth_protocol::membership::{ConversationKind, InvitationHash, Permissions, Role};
use quoth_protocol::{Code, ConversationName, Pattern, Seq};

use super::testing::{World, grant, user};
use super::{Actor, Change, ConversationState, Refusal, Rules};
use crate::authorize::{Action, Grant, Reach, authorize};

fn set(name: &str, role: Role) -> Change {
    Change::SetMember { user: user(name), role, permissions: None }
}

fn join(invitation: Option<InvitationHash>) -> Change {
    Change::Join { invitation }
}

fn code(outcome: Result<usize, Refusal>) -> Code {
    outcome.unwrap_err().code
}

fn create(kind: ConversationKind, members: &[&str], open: bool) -> Change {
    let members = members.iter().map(|name| user(name)).collect();
    Change::Create { kind, title: String::new(), members, open }
}

#[test]
fn others_are_never_left_without_an_owner() {
    let mut world = World::group("room");
    assert_eq!(code(world.by("owner", Change::Leave)), Code::LAST_OWNER);
    assert_eq!(code(world.by("owner", set("owner", Role::Admin))), Code::LAST_OWNER);
    let operator = user("operator");
    let operator = Actor::Operator { sender: &operator };
    for change in [
        Change::Remove { user: user("owner") },
        Change::Ban { user: user("owner"), until_ms: u64::MAX },
        set("owner", Role::Member),
    ] {
        assert_eq!(code(world.change(operator, &change)), Code::LAST_OWNER, "{change:?}");
    }
    world.by("owner", set("second", Role::Owner)).unwrap();
    assert_eq!(world.by("owner", Change::Leave), Ok(1));
    for name in ["admin", "member", "reader"] {
        assert_eq!(world.by(name, Change::Leave), Ok(1));
    }
    assert_eq!(world.by("second", Change::Leave), Ok(1), "nobody else is left");
    assert_eq!(world.state().members_count(), 0);
    // What all have left is over, but for the operator, who begins with an owner.
    assert_eq!(code(world.by("second", join(None))), Code::FORBIDDEN);
    assert_eq!(code(world.change(operator, &set("member", Role::Member))), Code::LAST_OWNER);
    assert_eq!(world.change(operator, &set("member", Role::Owner)), Ok(1));
}

#[test]
fn nobody_gives_what_they_lack() {
    let mut world = World::group("room");
    let give = |name: &str, role, permissions: Permissions| Change::SetMember {
        user: user(name),
        role,
        permissions: Some(permissions),
    };
    let manager = Permissions::READ.union(Permissions::WRITE).union(Permissions::MANAGE);
    world.by("owner", give("admin", Role::Admin, manager)).unwrap();
    let moderator = manager.union(Permissions::MODERATE);
    assert_eq!(code(world.by("admin", give("member", Role::Member, moderator))), Code::FORBIDDEN);
    assert_eq!(code(world.by("admin", set("member", Role::Admin))), Code::FORBIDDEN, "as much as by default");
    assert_eq!(
        code(world.by("admin", give("admin", Role::Admin, moderator))),
        Code::FORBIDDEN,
        "nor to oneself"
    );
    assert_eq!(world.by("admin", give("member", Role::Member, manager)), Ok(1));
    // What somebody has already may stay.
    world.by("owner", give("reader", Role::Reader, moderator)).unwrap();
    assert_eq!(world.by("admin", give("reader", Role::Member, moderator)), Ok(1));
    let unknown = give("reader", Role::Reader, Permissions(64));
    assert_eq!(code(world.by("owner", unknown)), Code::INVALID_REQUEST);
    // A moderator reaches members, not admins.
    let remove = |name| Change::Remove { user: user(name) };
    assert_eq!(code(world.by("reader", remove("admin"))), Code::FORBIDDEN);
    assert_eq!(world.by("reader", remove("member")), Ok(1));
}

#[test]
fn who_leaves_reads_up_to_there_and_a_return_restores_all() {
    let mut world = World::group("room");
    let history = |world: &World| {
        authorize(Actor::User(&grant("member")), Action::ReadHistory, world.place(), world.now_ms)
    };
    assert_eq!(history(&world), Ok(Reach::Whole));
    world.by("member", Change::Leave).unwrap();
    let left = world.state().version();
    assert_eq!(world.by("member", Change::Leave), Ok(0), "as if the answer was lost");
    world.by("owner", Change::Rename { title: "later".into() }).unwrap();
    assert_eq!(history(&world), Ok(Reach::UpTo(left)));
    world.by("owner", set("member", Role::Reader)).unwrap();
    assert_eq!(history(&world), Ok(Reach::Whole));
    world.by("owner", Change::Remove { user: user("member") }).unwrap();
    assert_eq!(history(&world), Ok(Reach::UpTo(world.state().version())));
}

#[test]
fn a_ban_bars_until_its_end() {
    let mut world = World::group("room");
    let invite =
        Change::Invite { hash: InvitationHash([1; 16]), role: Role::Member, expires_ms: 0, uses_max: 0 };
    world.by("owner", invite).unwrap();
    let ban = |until_ms| Change::Ban { user: user("member"), until_ms };
    assert_eq!(world.by("admin", ban(5_000)), Ok(2), "banned and gone");
    assert_eq!(world.by("admin", ban(5_000)), Ok(0));
    let history = |world: &World| {
        authorize(Actor::User(&grant("member")), Action::ReadHistory, world.place(), world.now_ms)
    };
    assert_eq!(history(&world), Err(Refusal::FORBIDDEN));
    assert_eq!(code(world.by("member", join(Some(InvitationHash([1; 16]))))), Code::FORBIDDEN);
    assert_eq!(code(world.by("owner", set("member", Role::Member))), Code::INVALID_REQUEST);
    world.now_ms = 4_999;
    assert_eq!(code(world.by("member", join(Some(InvitationHash([1; 16]))))), Code::FORBIDDEN);
    world.now_ms = 5_000;
    assert!(matches!(history(&world), Ok(Reach::UpTo(_))));
    assert_eq!(world.by("admin", ban(0)), Ok(0), "it is over by itself");
    assert_eq!(world.by("member", join(Some(InvitationHash([1; 16])))), Ok(1));
    assert_eq!(world.by("admin", ban(9_000)), Ok(2));
    assert_eq!(world.by("admin", ban(0)), Ok(1));
    assert_eq!(world.by("member", join(Some(InvitationHash([1; 16])))), Ok(1));
    // Also somebody who was never there.
    assert_eq!(world.by("admin", Change::Ban { user: user("stranger"), until_ms: u64::MAX }), Ok(1));
    assert_eq!(code(world.by("stranger", join(Some(InvitationHash([1; 16]))))), Code::FORBIDDEN);
    assert_eq!(world.by("admin", Change::Ban { user: user("stranger"), until_ms: 0 }), Ok(1));
    assert_eq!(world.state().user(&user("stranger")), None, "nothing is left of it");
}

#[test]
fn mutes_end_by_time_and_do_not_end_by_coming_back() {
    let mut world = World::group("room");
    let publish = |world: &World, name: &str| {
        authorize(Actor::User(&grant(name)), Action::Publish, world.place(), world.now_ms)
    };
    let mute = |name: Option<&str>, until_ms| Change::Mute { user: name.map(user), until_ms };
    assert_eq!(world.by("admin", mute(Some("member"), 5_000)), Ok(1));
    assert_eq!(world.by("admin", mute(Some("member"), 5_000)), Ok(0));
    let refused = publish(&world, "member").unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::MUTED, 4_000));
    world.by("member", Change::Leave).unwrap();
    world.by("owner", set("member", Role::Member)).unwrap();
    assert!(publish(&world, "member").is_err());
    world.now_ms = 5_000;
    assert!(publish(&world, "member").is_ok());
    assert_eq!(world.by("admin", mute(None, 9_000)), Ok(1));
    assert!(publish(&world, "member").is_err() && publish(&world, "admin").is_ok());
    assert_eq!(world.by("admin", mute(None, 0)), Ok(1));
    assert!(publish(&world, "member").is_ok());
    assert_eq!(code(world.by("admin", mute(Some("admin"), 0))), Code::INVALID_REQUEST, "not one's own");
    assert_eq!(code(world.by("admin", mute(Some("stranger"), 9_000))), Code::INVALID_REQUEST);
}

#[test]
fn invitations_have_ends_and_uses() {
    let mut world = World::group("room");
    let hash = |n| InvitationHash([n; 16]);
    let invite =
        |n, expires_ms, uses_max| Change::Invite { hash: hash(n), role: Role::Reader, expires_ms, uses_max };
    assert_eq!(code(world.by("owner", invite(1, 1_000, 0))), Code::INVALID_REQUEST, "over already");
    world.by("owner", invite(1, 5_000, 2)).unwrap();
    for (name, expected) in [("a", Ok(1)), ("a", Ok(0)), ("b", Ok(1)), ("c", Err(Refusal::FORBIDDEN))] {
        assert_eq!(world.by(name, join(Some(hash(1)))), expected, "{name}");
    }
    assert_eq!(world.state().present(&user("b")).unwrap().role, Role::Reader);
    world.by("owner", invite(2, 5_000, 2)).unwrap();
    let uses = |world: &World| -> Vec<_> {
        world.state().invitations(world.now_ms).map(|(_, invitation)| invitation.uses_left).collect()
    };
    assert_eq!(uses(&world), [Some(2)], "one that is used up is gone");
    world.by("d", join(Some(hash(2)))).unwrap();
    assert_eq!(uses(&world), [Some(1)]);
    world.now_ms = 5_000;
    assert_eq!(uses(&world), [], "one that is over lets nobody in, so it is not listed");
    assert_eq!(code(world.by("c", join(Some(hash(2))))), Code::FORBIDDEN);
    world.by("owner", invite(3, 0, 0)).unwrap();
    assert_eq!(world.state().invitations.len(), 1, "what is over makes room");
    world.by("owner", invite(4, 0, 0)).unwrap();
    let end = |n| Change::RevokeInvitation { hash: hash(n) };
    assert_eq!([end(4), end(4), end(5)].map(|end| world.by("owner", end)), [Ok(1), Ok(0), Ok(0)]);
    assert_eq!(code(world.by("c", join(Some(hash(4))))), Code::FORBIDDEN);
    assert_eq!(world.state().invitations(world.now_ms).map(|(hash, _)| hash).collect::<Vec<_>>(), [&hash(3)]);
    assert_eq!(world.by("owner", Change::RevokeInvitations), Ok(1));
    assert_eq!(world.by("owner", Change::RevokeInvitations), Ok(0));
    assert_eq!(code(world.by("c", join(Some(hash(3))))), Code::FORBIDDEN);
    for n in 0..100 {
        world.by("owner", invite(n, 0, 0)).unwrap();
    }
    assert_eq!(code(world.by("owner", invite(200, 0, 0))), Code::TOO_MANY);
    let owner = Change::Invite { hash: hash(201), role: Role::Owner, expires_ms: 0, uses_max: 0 };
    assert_eq!(code(world.by("owner", owner)), Code::INVALID_REQUEST);
}

/// A name that others' tokens are for is nobody's who comes first.
#[test]
fn a_name_of_ones_own_needs_a_token_that_has_it() {
    let patterns = |text: Option<&str>| text.map(|text| vec![Pattern::new(text)]);
    let outcome = |world: &mut World, write: Option<&str>, names_freely| {
        let grant = Grant { write: patterns(write), names_freely, ..grant("eve") };
        world
            .change(Actor::User(&grant), &create(ConversationKind::Group, &[], false))
            .map_err(|refusal| refusal.code)
    };
    for (write, freely, expected) in [
        (None, false, Err(Code::FORBIDDEN)),
        (Some("rooms-*"), false, Err(Code::FORBIDDEN)),
        (Some("rooms-*"), true, Err(Code::FORBIDDEN)),
        (Some("news"), false, Ok(2)),
        (None, true, Ok(2)),
    ] {
        assert_eq!(outcome(&mut World::new("news"), write, freely), expected, "{write:?} {freely}");
    }
    let mut taken = World::group("news");
    assert_eq!(outcome(&mut taken, None, false), Err(Code::FORBIDDEN), "whether it is taken does not show");
    assert_eq!(outcome(&mut taken, Some("*"), false), Err(Code::ALREADY_EXISTS));
    assert_eq!(outcome(&mut World::new("group/x"), None, false), Ok(2), "one that the server has made");
    assert_eq!(outcome(&mut World::new("group/x"), Some("group/*"), false), Ok(2));
    // To leave the name out is a way for some alone, and is advised to no others.
    let reason = |name: &str, write: Option<&str>| {
        let grant = Grant { write: patterns(write), names_freely: false, ..grant("eve") };
        let change = create(ConversationKind::Group, &[], false);
        World::new(name).change(Actor::User(&grant), &change).unwrap_err().reason
    };
    assert!(reason("news", None).contains("without a name the server makes one"));
    assert!(!reason("news", Some("team-*")).contains("without a name"));
    let made = reason("group/x", Some("team-*"));
    assert!(made.contains("group/*") && !made.contains("without a name"), "{made}");
}

fn invite(n: u8, role: Role) -> Change {
    Change::Invite { hash: InvitationHash([n; 16]), role, expires_ms: 0, uses_max: 0 }
}

#[test]
fn an_invitation_holds_while_its_maker_may_give_that_role() {
    let hash = |n| Some(InvitationHash([n; 16]));
    let ends = [
        ("owner", set("admin", Role::Member)),
        ("owner", Change::Remove { user: user("admin") }),
        ("admin", Change::Leave),
        ("owner", ban("admin", 2_000)),
    ];
    for (by, end) in ends {
        let how = format!("{end:?} by {by}");
        let mut world = World::group("room");
        world.by("admin", invite(1, Role::Admin)).unwrap();
        world.by("admin", invite(2, Role::Reader)).unwrap();
        world.by("owner", invite(3, Role::Admin)).unwrap();
        let operator = user("operator");
        world.change(Actor::Operator { sender: &operator }, &invite(4, Role::Admin)).unwrap();
        assert_eq!(world.by("a", join(hash(1))), Ok(1), "{how}: it holds");
        world.by(by, end).unwrap();
        world.now_ms = 2_000;
        assert_eq!(code(world.by("b", join(hash(1)))), Code::FORBIDDEN, "{how}");
        let is_member = world.state().present(&user("admin")).is_some();
        assert_eq!(world.by("c", join(hash(2))).is_ok(), is_member, "{how}: a member gives that");
        assert_eq!(world.by("d", join(hash(3))), Ok(1), "{how}: another one's");
        assert_eq!(world.by("e", join(hash(4))), Ok(1), "{how}: the operator's");
        // It does not come back, and takes no room.
        world.by("owner", set("admin", Role::Admin)).unwrap();
        assert_eq!(code(world.by("b", join(hash(1)))), Code::FORBIDDEN, "{how}");
        assert_eq!(ConversationState::load(&world.rows).unwrap().as_ref(), world.state.as_ref());
    }
}

#[test]
fn who_comes_back_has_no_more_than_before() {
    let present = |world: &World| world.state().present(&user("member")).unwrap();
    let of = |role: Role| (role, role.permissions(ConversationKind::Group));
    let muted = Role::Member.permissions(ConversationKind::Group).difference(Permissions::WRITE);
    let give =
        |role, permissions| Change::SetMember { user: user("member"), role, permissions: Some(permissions) };
    let hash = Some(InvitationHash([1; 16]));
    let befores = [
        (set("member", Role::Reader), of(Role::Reader)),
        (give(Role::Member, muted), (Role::Member, muted)),
        (give(Role::Reader, Permissions::READ.union(Permissions::WRITE)), of(Role::Reader)),
        // What was more than a joiner's is gone, as ever.
        (set("member", Role::Admin), of(Role::Member)),
    ];
    for (before, after) in befores {
        let mut world = World::new("room");
        world.by("owner", create(ConversationKind::Group, &["member", "friend"], true)).unwrap();
        world.by("owner", invite(1, Role::Member)).unwrap();
        world.by("owner", before.clone()).unwrap();
        let ways: [(&str, Change); 3] =
            [("member", join(None)), ("member", join(hash)), ("friend", set("member", Role::Member))];
        for (who, back) in ways {
            world.by("member", Change::Leave).unwrap();
            assert_eq!(world.by(who, back.clone()), Ok(1));
            assert_eq!((present(&world).role, present(&world).permissions), after, "{before:?} {back:?}");
        }
        world.by("owner", Change::Remove { user: user("member") }).unwrap();
        // Who manages says what the user is.
        world.by("owner", set("member", Role::Member)).unwrap();
        assert_eq!((present(&world).role, present(&world).permissions), of(Role::Member));
        assert_eq!(ConversationState::load(&world.rows).unwrap().as_ref(), world.state.as_ref());
    }
}

#[test]
fn kinds_have_their_names_and_members() {
    let direct = ConversationName::direct(&user("a"), &user("b"));
    let mut world = World::new(direct.as_str());
    let alone = || create(ConversationKind::Direct, &["b"], false);
    world.blockers.insert(user("b"));
    assert_eq!(code(world.by("a", alone())), Code::FORBIDDEN);
    world.blockers.clear();
    assert_eq!(code(world.by("c", alone())), Code::FORBIDDEN, "the name is of two others");
    assert_eq!(code(world.by("a", create(ConversationKind::Direct, &["b"], true))), Code::INVALID_REQUEST);
    assert_eq!(world.by("a", alone()), Ok(3));
    assert_eq!(world.by("a", alone()), Ok(0));
    assert_eq!(world.by("b", create(ConversationKind::Direct, &["a"], false)), Ok(0), "it is the same one");
    for change in [Change::Leave, set("c", Role::Member), Change::Rename { title: "x".into() }, join(None)] {
        assert_eq!(code(world.by("a", change)), Code::FORBIDDEN);
    }
    let operator = user("operator");
    let change = Change::Remove { user: user("a") };
    assert_eq!(code(world.change(Actor::Operator { sender: &operator }, &change)), Code::FORBIDDEN);

    let mut world = World::new(ConversationName::notes(&user("a")).as_str());
    assert_eq!(code(world.by("b", create(ConversationKind::Notes, &[], false))), Code::FORBIDDEN);
    assert_eq!(world.by("a", create(ConversationKind::Notes, &[], false)), Ok(2));
    assert_eq!(code(world.by("a", Change::Leave)), Code::FORBIDDEN);

    for (name, kind, fits) in [
        ("group/x", ConversationKind::Group, true),
        ("group/x", ConversationKind::Channel, false),
        ("channel/x", ConversationKind::Channel, true),
        ("notes/a", ConversationKind::Group, false),
        ("$server", ConversationKind::Group, false),
        ("free", ConversationKind::Channel, true),
    ] {
        assert_eq!(World::new(name).by("a", create(kind, &[], false)).is_ok(), fits, "{name} {kind}");
    }
    let mut world = World::new("free");
    world.by("a", create(ConversationKind::Channel, &["b"], true)).unwrap();
    assert_eq!(world.state().present(&user("b")).unwrap().role, Role::Reader);
    assert_eq!(world.by("c", join(None)), Ok(1));
    assert_eq!(world.state().present(&user("c")).unwrap().role, Role::Reader);
    assert_eq!(world.by("a", create(ConversationKind::Channel, &["b"], true)), Ok(0), "a repeat is done");
    assert_eq!(code(world.by("b", create(ConversationKind::Channel, &[], true))), Code::ALREADY_EXISTS);
}

#[test]
fn a_full_conversation_takes_nobody() {
    let mut world = World::group("room");
    world.rules = Rules { members_max: 5, ..Rules::default() };
    world.by("owner", set("fifth", Role::Member)).unwrap();
    assert_eq!(code(world.by("owner", set("sixth", Role::Member))), Code::TOO_MANY);
    assert_eq!(world.by("owner", set("fifth", Role::Reader)), Ok(1), "a change is none more");
    world.by("fifth", Change::Leave).unwrap();
    world.blockers.insert(user("sixth"));
    assert_eq!(
        code(world.by("owner", set("sixth", Role::Member))),
        Code::FORBIDDEN,
        "who has blocked the actor"
    );
    world.blockers.clear();
    assert_eq!(world.by("owner", set("sixth", Role::Member)), Ok(1));
    let mut world = World::new("small");
    world.rules = Rules { members_max: 2, ..Rules::default() };
    assert_eq!(code(world.by("a", create(ConversationKind::Group, &["b", "c"], false))), Code::TOO_MANY);
    assert_eq!(world.by("a", create(ConversationKind::Group, &["b", "b", "a"], false)), Ok(3));
}

fn ban(name: &str, until_ms: u64) -> Change {
    Change::Ban { user: user(name), until_ms }
}

#[test]
fn so_many_are_banned_and_no_more() {
    let mut world = World::group("room");
    for n in 0..BANS_MAX as u64 {
        assert_eq!(world.by("owner", ban(&format!("troll{n}"), 2_000 + n)), Ok(1));
    }
    for who in ["one more", "member"] {
        assert_eq!(code(world.by("owner", ban(who, u64::MAX))), Code::TOO_MANY);
    }
    assert_eq!(world.by("owner", ban("troll7", 9_000)), Ok(1), "one that there is");
    world.by("owner", ban("troll9", 0)).unwrap();
    assert_eq!(world.by("owner", ban("one more", u64::MAX)), Ok(1), "one was lifted");
    assert_eq!(code(world.by("owner", ban("member", u64::MAX))), Code::TOO_MANY);
    let bans = |world: &World| world.state().bans_after(None, world.now_ms).count();
    assert_eq!(bans(&world), BANS_MAX);
    world.now_ms = 2_000;
    assert_eq!(bans(&world), BANS_MAX - 1, "who may come back is not listed");
    let behind = user("troll1");
    assert_eq!(
        world.state().bans_after(Some(&behind), world.now_ms).next(),
        Some((&user("troll10"), 2_010)),
        "a page begins behind who it is given"
    );
    assert_eq!(world.by("owner", ban("member", u64::MAX)), Ok(2), "one is over");
}

#[test]
fn who_left_first_is_forgotten_first() {
    let mut world = World::group("room");
    // They may read nothing, so they go before those who have left.
    for n in 0..100 {
        world.by("owner", ban(&format!("over{n}"), 1_001)).unwrap();
    }
    for n in 0..100 {
        world.by("owner", ban(&format!("troll{n}"), u64::MAX)).unwrap();
    }
    world.now_ms = 1_001;
    let come_and_go = |world: &mut World, n: usize| {
        world.by("owner", set(&format!("guest{n}"), Role::Member)).unwrap();
        world.by(&format!("guest{n}"), Change::Leave).unwrap();
    };
    let guests = FORMER_MEMBERS_MAX;
    for n in 0..guests {
        come_and_go(&mut world, n);
        assert!(world.state().users_count() <= FORMER_MEMBERS_MAX + 4);
    }
    let knows = |world: &World, name: &str| world.state().user(&user(name)).is_some();
    assert!((0..100).all(|n| !knows(&world, &format!("over{n}")) && knows(&world, &format!("troll{n}"))));
    let known: Vec<bool> = (0..guests).map(|n| knows(&world, &format!("guest{n}"))).collect();
    assert!(known.is_sorted() && !known[0] && known[guests - 1], "the later ones are known");
    assert!(known.iter().filter(|known| **known).count() > FORMER_MEMBERS_MAX - 200);
    assert_eq!(ConversationState::load(&world.rows).unwrap().as_ref(), world.state.as_ref());
    assert!(["owner", "admin", "member", "reader"].iter().all(|name| knows(&world, name)));
}

/// Random changes by random users: the state that the events come to is the one that the registers hold, it
/// counts right, and there is always an owner where there are members.
#[test]
fn events_and_registers_come_to_the_same() {
    let names = ["owner", "admin", "member", "reader", "a", "b", "c"];
    for seed in 1..=200_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut any = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) % below
        };
        let mut world = World::group("room");
        world.rules = Rules { members_max: 6, ..Rules::default() };
        let mut changed = 0;
        for step in 0..150 {
            world.now_ms += any(50);
            let name = |i: u64| names[usize::try_from(i).unwrap()];
            let (actor, target) = (name(any(7)), user(name(any(7))));
            let role =
                [Role::Reader, Role::Member, Role::Admin, Role::Owner][usize::try_from(any(4)).unwrap()];
            let permissions = (any(3) == 0).then(|| Permissions(u32::try_from(any(64)).unwrap()));
            let until_ms = if any(4) == 0 { 0 } else { world.now_ms + any(300) };
            let hash = InvitationHash([u8::try_from(any(4)).unwrap(); 16]);
            let change = match any(14) {
                0 | 1 => Change::SetMember { user: target, role, permissions },
                2 => Change::Leave,
                3 => Change::Join { invitation: Some(hash) },
                4 => Change::Join { invitation: None },
                5 => Change::Remove { user: target },
                6 => Change::Rename { title: format!("t{}", any(3)) },
                7 => Change::Mute { user: (any(3) > 0).then_some(target), until_ms },
                8 => Change::Ban { user: target, until_ms },
                9 => Change::SlowMode { interval_ms: u32::try_from(any(3)).unwrap() },
                10 | 11 => Change::Invite {
                    hash,
                    role,
                    expires_ms: until_ms,
                    uses_max: u32::try_from(any(3)).unwrap(),
                },
                12 => Change::RevokeInvitation { hash },
                _ => Change::RevokeInvitations,
            };
            let actor = grant(actor);
            let operator = user("operator");
            let actor = if any(5) == 0 { Actor::Operator { sender: &operator } } else { Actor::User(&actor) };
            let version = world.state().version();
            match world.change(actor, &change) {
                Ok(0) => assert_eq!(world.state().version(), version),
                Ok(events) => {
                    changed += events;
                    assert_eq!(world.state().version(), Seq(version.0 + events as u64));
                    assert_eq!(world.change(actor, &change).unwrap_or(0), 0, "the same again: {change:?}");
                }
                Err(_) => assert_eq!(world.state().version(), version),
            }
            let loaded = ConversationState::load(&world.rows).unwrap();
            assert_eq!(loaded.as_ref(), world.state.as_ref(), "seed {seed} step {step} {change:?}");
            let state = world.state();
            let owners =
                state.members_after(None).filter(|(_, _, present)| present.role == Role::Owner).count();
            assert!(owners > 0 || state.members_count() == 0, "seed {seed} step {step} {change:?}");
            assert_eq!(state.owners as usize, owners);
            assert!(state.members_count() <= 6);
        }
        assert!(changed > 10, "seed {seed}: {changed}");
    }
}

#[test]
fn pages_of_members_are_in_order_and_without_those_who_are_gone() {
    let mut world = World::group("room");
    world.by("member", Change::Leave).unwrap();
    let page = |after: Option<&str>| -> Vec<String> {
        let after = after.map(user);
        world.state().members_after(after.as_ref()).map(|(user, ..)| user.to_string()).collect()
    };
    assert_eq!(page(None), ["admin", "owner", "reader"]);
    assert_eq!(page(Some("member")), ["owner", "reader"]);
    assert_eq!(page(Some("reader")), [""; 0]);
}

#[test]
fn registers_that_are_none_are_told() {
    let world = World::group("room");
    let mut rows = world.rows.clone();
    rows.remove(&b"a"[..]);
    assert!(ConversationState::load(&rows).is_err());
    for key in [&b"z"[..], b"i123"] {
        let mut rows = world.rows.clone();
        rows.insert(key.to_vec(), vec![1]);
        assert!(ConversationState::load(&rows).is_err());
    }
    let mut rows = world.rows;
    rows.get_mut(&b"mowner"[..]).unwrap().push(0);
    assert!(ConversationState::load(&rows).is_err());
    assert_eq!(ConversationState::load([(b"", b""); 0]), Ok(None));
}
