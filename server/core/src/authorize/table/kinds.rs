//! Every verb in conversations of the other kinds, and where there are no members at all.

use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::{ConversationName, Pattern};

use super::{INVITATION, ROLES, Verb, assert_is, judged, verbs};
use crate::authorize::{Grant, Place};
use crate::membership::Change;
use crate::membership::testing::{World, grant, user};

/// What becomes of a verb, in letters as in the table of groups:
///
/// - `channel` for an owner, admin, member and reader of a channel, whose joiners are readers
/// - `direct` for one of the two of a direct conversation, whom in `blocked` the other one has blocked, and
///   `direct_of_2` for a third user
/// - `notes` for the owner, and `notes_of_1` for another user
/// - `unmanaged`, where nobody has made a conversation, for tokens that read and write it, read it, write it, and
///   say nothing
///
/// `create` makes a group of the conversation's name, `create_direct` a direct conversation with the other one,
/// `create_notes` the own notes.
const TABLE: &str = "
    verb                channel direct blocked direct_of_2 notes notes_of_1 unmanaged
    read_live           YYYY    Y      Y       F           Y     F          YYFF
    read_history        YYYY    Y      Y       F           Y     F          YYFF
    publish             YYYF    Y      F       F           Y     F          YFYF
    publish_as          YYYF    Y      F       F           Y     F          YFYF
    publish_as_another  FFFF    F      F       F           F     F          FFFF
    typing              YYYF    Y      F       F           Y     F          YFYF
    roster              YYYY    Y      Y       F           Y     F          YYFF
    members             YYYY    Y      Y       F           Y     F          IIFF
    describe            YYYY    Y      Y       F           Y     F          YYFF
    mark                YYYY    Y      Y       F           Y     F          YYFF
    receipts            YYYY    Y      F       F           Y     F          YYFF
    inbox               YYYY    Y      Y       F           Y     F          IIFF
    join                YYYY    F      F       F           F     F          IFIF
    join_by_invitation  YYYY    F      F       F           F     F          IFIF
    leave               YYYY    F      F       F           F     F          IFIF
    add_joiner          YYYF    F      F       F           F     F          IFIF
    add_admin           YYFF    F      F       F           F     F          IFIF
    add_owner           YFFF    F      F       F           F     F          IFIF
    set_role            YYFF    F      F       F           F     F          IFIF
    set_role_of_owner   YFFF    F      F       F           F     F          IFIF
    remove              YYFF    F      F       F           F     F          IFIF
    remove_owner        YFFF    F      F       F           F     F          IFIF
    rename              YYFF    F      F       F           Y     F          IFIF
    mute                YYFF    F      F       F           F     F          IFIF
    mute_owner          YFFF    F      F       F           F     F          IFIF
    mute_all            YYFF    F      F       F           F     F          IFIF
    ban                 YYFF    F      F       F           F     F          IFIF
    ban_owner           YFFF    F      F       F           F     F          IFIF
    slow_mode           YYFF    F      F       F           F     F          IFIF
    invite              YYYF    F      F       F           F     F          IFIF
    invite_admin        YYFF    F      F       F           F     F          IFIF
    revoke_invitation   YYFF    F      F       F           F     F          IFIF
    revoke_invitations  YYFF    F      F       F           F     F          IFIF
    create              YYYY    F      F       F           F     F          YFYF
    react               YYYF    Y      F       F           Y     F          YFYF
    hide                YYYY    Y      Y       F           Y     F          YYFF
    retain              YYFF    F      F       F           Y     F          IFIF
    edit                YYYF    Y      F       F           Y     F          YFYF
    edit_old            OOOF    O      F       F           O     F          OFOF
    edit_of_guest       YYYF    Y      F       F           Y     F          YFYF
    edit_of_joiner      FFFF    F      F       F           F     F          FFFF
    revoke              YYYY    Y      Y       F           Y     F          YFYF
    revoke_old          YYOO    O      O       F           Y     F          OFOF
    revoke_of_guest     YYYY    Y      Y       F           Y     F          YFYF
    revoke_of_joiner    YYFF    F      F       F           Y     F          FFFF
    revoke_of_owner     YFFF    F      F       F           Y     F          FFFF
    revoke_of_gone      YYFF    F      F       F           Y     F          FFFF
    create_direct       FFFF    Y      F       F           F     F          FFFF
    create_notes        FFFF    F      F       F           Y     F          FFFF
";

const COLUMNS: [&str; 7] =
    ["channel", "direct", "blocked", "direct_of_2", "notes", "notes_of_1", "unmanaged"];

/// Tokens: whether they read and whether they write the conversation; `None`: they say nothing.
const TOKENS: [Option<(bool, bool)>; 4] =
    [Some((true, true)), Some((true, false)), Some((false, true)), None];

fn create(kind: ConversationKind, members: &[&str]) -> Change {
    let members = members.iter().map(|name| user(name)).collect();
    Change::Create { kind, title: String::new(), members, open: false }
}

/// A channel of which the subject is this.
fn channel(role: Role) -> World {
    let mut world = World::new("room");
    world.by("owner", create(ConversationKind::Channel, &["somebody"])).unwrap();
    let set = |name, role| Change::SetMember { user: user(name), role, permissions: None };
    world.by("owner", set("second", Role::Owner)).unwrap();
    world.by("owner", set("subject", role)).unwrap();
    let invite = Change::Invite { hash: INVITATION, role: Role::Reader, expires_ms: 0, uses_max: 0 };
    world.by("owner", invite).unwrap();
    world
}

/// A direct conversation of a user with somebody.
fn direct(of: &str) -> World {
    let mut world = World::new(ConversationName::direct(&user(of), &user("somebody")).as_str());
    world.by(of, create(ConversationKind::Direct, &["somebody"])).unwrap();
    world
}

fn notes(of: &str) -> World {
    let mut world = World::new(ConversationName::notes(&user(of)).as_str());
    world.by(of, create(ConversationKind::Notes, &[])).unwrap();
    world
}

/// The subject, who may publish as guests.
fn subject() -> Grant {
    Grant { publish_as: vec![Pattern::new("guest-*")], ..grant("subject") }
}

fn outcome(verb: &Verb, column: usize) -> String {
    let of = |world: World, is_blocked: bool| {
        let place = Place { is_blocked, ..world.place() };
        judged(verb, &world, &subject(), place).to_string()
    };
    match column {
        0 => ROLES.iter().map(|role| of(channel(*role), false)).collect(),
        1 => of(direct("subject"), false),
        2 => of(direct("subject"), true),
        3 => of(direct("another"), false),
        4 => of(notes("subject"), false),
        5 => of(notes("another"), false),
        _ => {
            let world = World::new("room");
            let patterns = |has: bool| has.then(|| Pattern::new("room")).into_iter().collect::<Vec<_>>();
            let of_token = |token: &Option<(bool, bool)>| {
                let read = token.map(|(reads, _)| patterns(reads));
                let write = token.map(|(_, writes)| patterns(writes));
                let grant = Grant { read, write, names_freely: false, ..subject() };
                judged(verb, &world, &grant, world.place())
            };
            TOKENS.iter().map(of_token).collect()
        }
    }
}

#[test]
fn every_verb_in_conversations_of_every_kind() {
    let mut all = verbs(ConversationKind::Channel);
    all.push(("create_direct", Verb::Change(create(ConversationKind::Direct, &["somebody"]))));
    all.push(("create_notes", Verb::Change(create(ConversationKind::Notes, &[]))));
    assert_is(TABLE, &COLUMNS, &all, outcome);
}
