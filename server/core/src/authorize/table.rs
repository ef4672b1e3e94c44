//! Every verb, for every role, in every condition, and in conversations of every kind. A cell that is missing
//! here fails.

mod kinds;

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Hello};
use quoth_protocol::membership::{ConversationKind, InvitationHash, Role};
use quoth_protocol::request::Request;
use quoth_protocol::{Code, DeviceId, Pattern, UserId};

use super::{Action, Grant, Place, Reach, Standing, Written, authorize};
use crate::membership::testing::{World, grant, user};
use crate::membership::{Actor, Change, Refusal};
use crate::session::{Identity, Input, Output, Session};

/// What becomes of a verb:
///
/// - `Y` it passes
/// - `L` it passes up to the event by which the user left
/// - `F` FORBIDDEN
/// - `M` MUTED
/// - `S` it passes once in an interval, else SLOW_MODE
/// - `O` TOO_OLD
/// - `I` INVALID_REQUEST: it is for conversations with members
/// - `E` TOKEN_EXPIRED
/// - `R` TOKEN_REVOKED
/// - `A` TOKEN_REJECTED
///
/// A column is a condition in a group, and its letters are for owner, admin, member and reader. The user that
/// a change is about is a member with the role of one who joins, but for those that say otherwise. `kinds` has
/// the other kinds of conversations.
const TABLE: &str = "
    verb                present outside left banned muted slow open expired revoked audience nowhere narrowed
    read_live           YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    read_history        YYYY    FFFF    LLLL FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    publish             YYYF    FFFF    FFFF FFFF   MMMF  YYSF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    publish_as          YYYF    FFFF    FFFF FFFF   MMMF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    publish_as_another  FFFF    FFFF    FFFF FFFF   FFFF  FFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    typing              YYYF    FFFF    FFFF FFFF   MMMF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    roster              YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    members             YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    describe            YYYY    FFFF    FFFF FFFF   YYYY  YYYY YYYY EEEE    RRRR    AAAA     FFFF    FFFF
    mark                YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    receipts            YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    inbox               YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    join                YYYY    FFFF    FFFF FFFF   YYYY  YYYY YYYY EEEE    RRRR    AAAA     FFFF    FFFF
    join_by_invitation  YYYY    YYYY    YYYY FFFF   YYYY  YYYY YYYY EEEE    RRRR    AAAA     FFFF    FFFF
    leave               YYYY    FFFF    YYYY FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    add_joiner          YYYF    FFFF    FFFF FFFF   YYYF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    add_admin           YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    add_owner           YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    set_role            YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    set_role_of_owner   YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    remove              YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    remove_owner        YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    rename              YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    mute                YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    mute_owner          YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    mute_all            YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    ban                 YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    ban_owner           YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    slow_mode           YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    invite              YYYF    FFFF    FFFF FFFF   YYYF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    invite_admin        YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_invitation   YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_invitations  YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    create              YYYY    YYYY    YYYY YYYY   YYYY  YYYY YYYY EEEE    RRRR    AAAA     YYYY    FFFF
    react               YYYF    FFFF    FFFF FFFF   MMMF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    hide                YYYY    FFFF    LLLL FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    retain              YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    edit                YYYF    FFFF    FFFF FFFF   MMMF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    edit_old            OOOF    FFFF    FFFF FFFF   MMMF  OOOF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    edit_of_guest       YYYF    FFFF    FFFF FFFF   MMMF  YYYF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    edit_of_joiner      FFFF    FFFF    FFFF FFFF   FFFF  FFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke              YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_old          YYOO    FFFF    FFFF FFFF   YYOO  YYOO FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_of_guest     YYYY    FFFF    FFFF FFFF   YYYY  YYYY FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_of_joiner    YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_of_owner     YFFF    FFFF    FFFF FFFF   YFFF  YFFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
    revoke_of_gone      YYFF    FFFF    FFFF FFFF   YYFF  YYFF FFFF EEEE    RRRR    AAAA     FFFF    FFFF
";

const ROLES: [Role; 4] = [Role::Owner, Role::Admin, Role::Member, Role::Reader];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// A member.
    Present,
    /// Never one.
    Outside,
    Left,
    Banned,
    Muted,
    /// A member where each member writes once in an interval.
    Slow,
    /// Never a member of one that everybody may join.
    Open,
    /// A member whose token has ended, is revoked, is for somebody else.
    Expired,
    Revoked,
    Audience,
    /// There is no such conversation.
    Nowhere,
    /// A member whose token is for other conversations.
    Narrowed,
}

const CONDITIONS: [(&str, Condition); 12] = [
    ("present", Condition::Present),
    ("outside", Condition::Outside),
    ("left", Condition::Left),
    ("banned", Condition::Banned),
    ("muted", Condition::Muted),
    ("slow", Condition::Slow),
    ("open", Condition::Open),
    ("expired", Condition::Expired),
    ("revoked", Condition::Revoked),
    ("audience", Condition::Audience),
    ("nowhere", Condition::Nowhere),
    ("narrowed", Condition::Narrowed),
];

const INVITATION: InvitationHash = InvitationHash([7; 16]);

/// A verb by its name in the table.
enum Verb {
    Simple(Action<'static>),
    As(&'static str),
    Change(Change),
    /// Of a message of this user.
    Edit(Said),
    Revoke(Said),
}

/// A message.
struct Said {
    by: &'static str,
    is_recent: bool,
}

impl Verb {
    /// Whether slow mode holds for it: for what is said in one's own name.
    const fn takes_a_turn(&self) -> bool {
        matches!(self, Self::Simple(Action::Publish))
    }

    /// What is done, with what it is done with.
    fn with<T>(&self, world: &World, act: impl FnOnce(Action<'_>) -> T) -> T {
        let guest = if let Self::As(name) = self { user(name) } else { user("nobody") };
        let sender =
            if let Self::Edit(said) | Self::Revoke(said) = self { user(said.by) } else { user("nobody") };
        let present = world.state.as_ref().and_then(|state| state.present(&sender));
        let role = present.map(|present| present.role);
        let written = |said: &Said| Written { sender: &sender, role, is_recent: said.is_recent };
        act(match self {
            Self::Simple(action) => *action,
            Self::As(_) => Action::PublishAs(&guest),
            Self::Change(change) => Action::Change(change),
            Self::Edit(said) => Action::Edit(written(said)),
            Self::Revoke(said) => Action::Revoke(written(said)),
        })
    }
}

/// All verbs, in a conversation of this kind.
fn verbs(kind: ConversationKind) -> Vec<(&'static str, Verb)> {
    let joiner = Role::of_joiner(kind);
    let set = |name: &str, role| Change::SetMember { user: user(name), role, permissions: None };
    let invite = |role| Change::Invite { hash: InvitationHash([8; 16]), role, expires_ms: 0, uses_max: 0 };
    let mute = |user: Option<UserId>| Change::Mute { user, until_ms: u64::MAX };
    let create = Change::Create {
        kind: ConversationKind::Group,
        title: String::new(),
        members: Vec::new(),
        open: false,
    };
    let said = |by| Said { by, is_recent: true };
    let old = || Said { by: "subject", is_recent: false };
    vec![
        ("read_live", Verb::Simple(Action::ReadLive)),
        ("read_history", Verb::Simple(Action::ReadHistory)),
        ("publish", Verb::Simple(Action::Publish)),
        ("publish_as", Verb::As("guest-1")),
        ("publish_as_another", Verb::As("boss")),
        ("typing", Verb::Simple(Action::Typing)),
        ("roster", Verb::Simple(Action::Roster)),
        ("members", Verb::Simple(Action::Members)),
        ("describe", Verb::Simple(Action::Describe)),
        ("mark", Verb::Simple(Action::Mark)),
        ("receipts", Verb::Simple(Action::Receipts)),
        ("inbox", Verb::Simple(Action::Inbox)),
        ("join", Verb::Change(Change::Join { invitation: None })),
        ("join_by_invitation", Verb::Change(Change::Join { invitation: Some(INVITATION) })),
        ("leave", Verb::Change(Change::Leave)),
        ("add_joiner", Verb::Change(set("new", joiner))),
        ("add_admin", Verb::Change(set("new", Role::Admin))),
        ("add_owner", Verb::Change(set("new", Role::Owner))),
        ("set_role", Verb::Change(set("somebody", Role::Reader))),
        ("set_role_of_owner", Verb::Change(set("second", Role::Admin))),
        ("remove", Verb::Change(Change::Remove { user: user("somebody") })),
        ("remove_owner", Verb::Change(Change::Remove { user: user("second") })),
        ("rename", Verb::Change(Change::Rename { title: "t".into() })),
        ("mute", Verb::Change(mute(Some(user("somebody"))))),
        ("mute_owner", Verb::Change(mute(Some(user("second"))))),
        ("mute_all", Verb::Change(mute(None))),
        ("ban", Verb::Change(Change::Ban { user: user("somebody"), until_ms: u64::MAX })),
        ("ban_owner", Verb::Change(Change::Ban { user: user("second"), until_ms: u64::MAX })),
        ("slow_mode", Verb::Change(Change::SlowMode { interval_ms: 1 })),
        ("invite", Verb::Change(invite(joiner))),
        ("invite_admin", Verb::Change(invite(Role::Admin))),
        ("revoke_invitation", Verb::Change(Change::RevokeInvitation { hash: INVITATION })),
        ("revoke_invitations", Verb::Change(Change::RevokeInvitations)),
        ("create", Verb::Change(create)),
        ("react", Verb::Simple(Action::React)),
        ("hide", Verb::Simple(Action::Hide)),
        ("retain", Verb::Simple(Action::Retain)),
        ("edit", Verb::Edit(said("subject"))),
        ("edit_old", Verb::Edit(old())),
        ("edit_of_guest", Verb::Edit(said("guest-1"))),
        ("edit_of_joiner", Verb::Edit(said("somebody"))),
        ("revoke", Verb::Revoke(said("subject"))),
        ("revoke_old", Verb::Revoke(old())),
        ("revoke_of_guest", Verb::Revoke(said("guest-1"))),
        ("revoke_of_joiner", Verb::Revoke(said("somebody"))),
        ("revoke_of_owner", Verb::Revoke(said("second"))),
        ("revoke_of_gone", Verb::Revoke(said("gone"))),
    ]
}

/// A group in which `subject` was an owner, admin, member or reader, and what has become of that.
fn world(role: Role, condition: Condition) -> World {
    let mut world = World::group_that_is("room", condition == Condition::Open);
    let set = |name: &str, role| Change::SetMember { user: user(name), role, permissions: None };
    for (name, role) in [("somebody", Role::Member), ("second", Role::Owner)] {
        world.by("owner", set(name, role)).unwrap();
    }
    let invite = Change::Invite { hash: INVITATION, role: Role::Member, expires_ms: 0, uses_max: 0 };
    world.by("owner", invite).unwrap();
    if !matches!(condition, Condition::Outside | Condition::Open) {
        world.by("owner", set("subject", role)).unwrap();
    }
    match condition {
        Condition::Left => drop(world.by("subject", Change::Leave).unwrap()),
        Condition::Banned => {
            world.by("owner", Change::Ban { user: user("subject"), until_ms: u64::MAX }).unwrap();
        }
        Condition::Muted => {
            world.by("owner", Change::Mute { user: Some(user("subject")), until_ms: u64::MAX }).unwrap();
        }
        Condition::Slow => drop(world.by("owner", Change::SlowMode { interval_ms: 1_000 }).unwrap()),
        Condition::Nowhere => world.state = None,
        Condition::Present
        | Condition::Outside
        | Condition::Open
        | Condition::Expired
        | Condition::Revoked
        | Condition::Audience
        | Condition::Narrowed => {}
    }
    world
}

/// The code with which a token is not accepted, so that no verb comes as far as to the guard.
fn rejection(condition: Condition) -> Option<Code> {
    match condition {
        Condition::Expired => Some(Code::TOKEN_EXPIRED),
        Condition::Revoked => Some(Code::TOKEN_REVOKED),
        Condition::Audience => Some(Code::TOKEN_REJECTED),
        Condition::Present
        | Condition::Outside
        | Condition::Left
        | Condition::Banned
        | Condition::Muted
        | Condition::Slow
        | Condition::Open
        | Condition::Nowhere
        | Condition::Narrowed => None,
    }
}

/// Signs in with a token that is rejected: the connection closes and whatever comes then is not looked at.
fn sign_in(code: Code) -> Code {
    let mut session = Session::new(0);
    let hello = Hello {
        version: 1,
        features: 0,
        token: "t".into(),
        device: DeviceId::new("d").unwrap(),
        generation: 1,
        platform: String::new(),
        client: String::new(),
    };
    session.handle(Input::Frame(ClientFrame::Hello(hello)), 0);
    let closed = session.handle(Input::Verified(Err(code)), 0);
    let request = ClientFrame::Request { id: 1, request: Request::Blocked };
    assert_eq!(session.handle(Input::Frame(request), 0), None);
    let identity = Identity {
        grant: Arc::new(grant("subject")),
        expires_ms: u64::MAX,
        issued_ms: 0,
        token_id: None,
        device: None,
    };
    assert_eq!(session.handle(Input::Verified(Ok(identity)), 0), None);
    match closed {
        Some(Output::Close(code, _)) => code,
        other => panic!("not a close: {other:?}"),
    }
}

fn letter(code: Code) -> char {
    match code {
        Code::FORBIDDEN => 'F',
        Code::MUTED => 'M',
        Code::TOO_OLD => 'O',
        Code::INVALID_REQUEST => 'I',
        Code::TOKEN_EXPIRED => 'E',
        Code::TOKEN_REVOKED => 'R',
        Code::TOKEN_REJECTED => 'A',
        other => panic!("no code of this table: {other}"),
    }
}

fn outcome(verb: &Verb, role: Role, condition: Condition) -> char {
    if let Some(code) = rejection(condition) {
        return letter(sign_in(code));
    }
    let world = world(role, condition);
    // In a conversation that is not managed the token alone counts, and one that says nothing allows nothing
    // there.
    let narrowed = (condition == Condition::Narrowed).then(|| vec![Pattern::new("other")]);
    let publish_as = vec![Pattern::new("guest-*")];
    let grant = Grant { read: narrowed.clone(), write: narrowed, publish_as, ..grant("subject") };
    judged(verb, &world, &grant, world.place())
}

/// What becomes of a verb of a user with this grant.
fn judged(verb: &Verb, world: &World, grant: &Grant, place: Place<'_>) -> char {
    let actor = Actor::User(grant);
    match verb.with(world, |action| authorize(actor, action, place, world.now_ms)) {
        Ok(Reach::Whole)
            if verb.takes_a_turn() && Standing::new(actor, place).slow_mode_interval_ms() > 0 =>
        {
            'S'
        }
        Ok(Reach::Whole) => 'Y',
        Ok(Reach::UpTo(seq)) => {
            assert_eq!(Some(seq), world.state().user(&grant.user).map(|member| member.left_seq));
            'L'
        }
        Err(refusal) => letter(refusal.code),
    }
}

/// Compares a table, of which a row is a verb, with what is.
fn assert_is(
    table: &'static str,
    columns: &[&str],
    verbs: &[(&str, Verb)],
    is: impl Fn(&Verb, usize) -> String,
) {
    let mut lines = table.lines().map(str::split_whitespace).filter(|line| line.clone().count() > 0);
    let named: Vec<_> = lines.next().unwrap().skip(1).collect();
    assert_eq!(named, columns, "each condition has a column");
    let rows: Vec<Vec<_>> = lines.map(Iterator::collect).collect();
    let names: Vec<_> = verbs.iter().map(|verb| verb.0).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), names, "each verb has a row");
    let mut wrong = Vec::new();
    for (row, (name, verb)) in rows.iter().zip(verbs) {
        assert_eq!(row.len(), 1 + columns.len(), "{name} has all columns");
        for (at, (cell, column)) in row[1..].iter().zip(columns).enumerate() {
            let is = is(verb, at);
            if is != *cell {
                wrong.push(format!("{name} {column}: {is} in place of {cell}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_verb_for_every_role_in_every_condition() {
    let columns = CONDITIONS.map(|(name, _)| name);
    assert_is(TABLE, &columns, &verbs(ConversationKind::Group), |verb, at| {
        ROLES.iter().map(|role| outcome(verb, *role, CONDITIONS[at].1)).collect()
    });
}

#[test]
fn everybody_reads_the_own_log_and_nobody_writes_there() {
    let grant = grant("alice");
    let own = Written { sender: &grant.user, role: None, is_recent: true };
    let allowed = [Action::ReadLive, Action::ReadHistory, Action::Roster, Action::Hide];
    let forbidden = [
        Action::Publish,
        Action::Typing,
        Action::Members,
        Action::Describe,
        Action::React,
        Action::Retain,
        Action::Edit(own),
        Action::Revoke(own),
        Action::Mark,
        Action::Receipts,
        Action::Inbox,
        Action::Change(&Change::Leave),
    ];
    for (actions, expected) in [(&allowed[..], Ok(Reach::Whole)), (&forbidden[..], Err(Refusal::FORBIDDEN))] {
        for action in actions {
            assert_eq!(Standing::OF_OWN_LOG.allows(Actor::User(&grant), *action, 0), expected, "{action:?}");
        }
    }
}

/// Who is no member, who was banned, and a conversation that does not exist must look alike to the last
/// field.
#[test]
fn what_is_not_allowed_looks_like_what_does_not_exist() {
    let subject = grant("subject");
    for (name, verb) in verbs(ConversationKind::Group) {
        let is_for_strangers =
            matches!(&verb, Verb::Change(Change::Create { .. } | Change::Join { invitation: Some(_) }));
        if is_for_strangers {
            continue;
        }
        for condition in [Condition::Outside, Condition::Banned, Condition::Nowhere] {
            let world = world(Role::Member, condition);
            let authorize =
                |action: Action<'_>| authorize(Actor::User(&subject), action, world.place(), world.now_ms);
            let refused = verb.with(&world, authorize);
            assert_eq!(refused, Err(Refusal::FORBIDDEN), "{name} {condition:?}");
        }
    }
}

#[test]
fn unmanaged_conversations_go_by_the_token_alone() {
    let patterns = |texts: &[&str]| Some(texts.iter().map(|text| Pattern::new(*text)).collect());
    let grant = Grant {
        user: user("alice"),
        read: patterns(&["r", "rw", "*/x"]),
        write: patterns(&["w", "rw", "*/x"]),
        publish_as: vec![Pattern::new("irc-*")],
        names_freely: false,
    };
    let (guest, boss) = (user("irc-bob"), user("boss"));
    let written = |sender| Written { sender, role: None, is_recent: true };
    let [own, of_guest, of_boss] = [&grant.user, &guest, &boss].map(written);
    let cases = [
        (Action::ReadLive, "r", true),
        (Action::ReadHistory, "rw", true),
        (Action::Roster, "rw", true),
        (Action::ReadLive, "w", false),
        (Action::Publish, "w", true),
        (Action::Typing, "w", true),
        (Action::Publish, "r", false),
        (Action::PublishAs(&guest), "w", true),
        (Action::PublishAs(&guest), "r", false),
        (Action::PublishAs(&boss), "w", false),
        (Action::Describe, "rw", true),
        (Action::Mark, "rw", true),
        (Action::Mark, "w", false),
        (Action::Receipts, "rw", true),
        (Action::React, "w", true),
        (Action::React, "r", false),
        (Action::Hide, "r", true),
        (Action::Hide, "w", false),
        (Action::Edit(own), "w", true),
        (Action::Edit(own), "r", false),
        (Action::Edit(of_guest), "w", true),
        (Action::Edit(of_boss), "w", false),
        (Action::Revoke(own), "w", true),
        (Action::Revoke(own), "r", false),
        (Action::Revoke(of_guest), "w", true),
        (Action::Revoke(of_boss), "rw", false),
        // Reserved names are never unmanaged.
        (Action::ReadLive, "free/x", true),
        (Action::ReadLive, "group/x", false),
        (Action::Publish, "channel/x", false),
        (Action::ReadLive, "notes/x", false),
        (Action::ReadLive, "direct/x", false),
        (Action::ReadLive, "$user/x", false),
        (Action::Publish, "$user/x", false),
    ];
    // What is for members alone is refused with the reason, where the token lets its user know of the name.
    let of_members = [
        (Action::Members, "r", "w"),
        (Action::Inbox, "r", "w"),
        (Action::Change(&Change::Leave), "w", "r"),
        (Action::Retain, "w", "r"),
        (Action::Change(&Change::Leave), "w", "group/x"),
    ];
    for (action, told, untold) in of_members {
        for (name, refusal) in [(told, Refusal::UNMANAGED), (untold, Refusal::FORBIDDEN)] {
            let name = quoth_protocol::ConversationName::new(name).unwrap();
            let place = Place { name: &name, state: None, is_blocked: false };
            let refused = authorize(Actor::User(&grant), action, place, 0);
            assert_eq!(refused, Err(refusal), "{action:?} {name}");
        }
    }
    let missing = Grant::of_membership(user("alice"));
    for (action, name, allowed) in cases {
        let name = quoth_protocol::ConversationName::new(name).unwrap();
        let place = Place { name: &name, state: None, is_blocked: false };
        let expected = if allowed { Ok(Reach::Whole) } else { Err(Refusal::FORBIDDEN) };
        assert_eq!(authorize(Actor::User(&grant), action, place, 0), expected, "{action:?} {name}");
        assert_eq!(
            authorize(Actor::User(&missing), action, place, 0),
            Err(Refusal::FORBIDDEN),
            "{action:?} {name}"
        );
    }
}
