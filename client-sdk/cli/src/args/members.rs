//! The commands for conversations, their members and the user's devices.

use std::time::Duration;

use clap::Subcommand;
use quoth_client::{ConversationKind, ConversationName, DeviceId, Permissions, Role, UserId};

use super::time::{duration, some_time};

// A user is `whom` and a device `which` here: clap takes `user` and `device` for the flags of every command.

/// What `quoth conversation` does.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ConversationCommand {
    /// Make a conversation that only its members read and write; prints its name
    Create(CreateArgs),
    /// Become a member of a conversation that is open, or with an invitation
    Join {
        /// Which conversation
        conversation: ConversationName,
        /// The invitation's text
        #[arg(short, long, value_name = "TEXT")]
        invitation: Option<String>,
    },
    /// Leave a conversation; what was said there until now stays readable
    Leave {
        /// Which conversation
        conversation: ConversationName,
    },
    /// Add a member
    Add {
        /// To which conversation
        conversation: ConversationName,
        /// Whom
        #[arg(value_name = "USER")]
        whom: UserId,
        /// As what; default: member of a group, reader of a channel
        #[arg(long, value_parser = role)]
        role: Option<Role>,
    },
    /// End somebody's membership
    Remove {
        /// In which conversation
        conversation: ConversationName,
        /// Whose
        #[arg(value_name = "USER")]
        whom: UserId,
    },
    /// Give a member another role: reader, member, admin or owner
    ///
    /// A reader reads. A member reads, writes and invites. An admin does all that an owner does, but not to
    /// owners. An owner does all: mutes, bans and removes (moderate), says who is what, sets the title and how long
    /// messages are kept (manage), and takes away messages of others (delete-any). Nobody does anything to a user
    /// whose role is above their own, or gives what they do not have; the last owner stays one while others are
    /// there.
    Role {
        /// In which conversation
        conversation: ConversationName,
        /// Whom
        #[arg(value_name = "USER")]
        whom: UserId,
        /// Which role
        #[arg(value_parser = role)]
        role: Role,
        /// What the member may do, where that is not what the role may: read, write, invite, moderate,
        /// manage, delete-any, with commas between them
        #[arg(long, value_name = "LIST", value_parser = permissions)]
        permissions: Option<Permissions>,
    },
    /// Set the title
    Rename {
        /// Of which conversation
        conversation: ConversationName,
        /// The title; an empty one takes it away
        title: String,
    },
    /// Keep a member from writing, or everybody who may not moderate
    #[command(group = clap::ArgGroup::new("muted").required(true))]
    Mute {
        /// In which conversation
        conversation: ConversationName,
        /// Whom
        #[arg(value_name = "USER", group = "muted")]
        whom: Option<UserId>,
        /// Everybody who may not moderate
        #[arg(long, group = "muted")]
        everybody: bool,
        #[command(flatten)]
        time: TimeArgs,
    },
    /// End a user's membership and keep the user out
    Ban {
        /// In which conversation
        conversation: ConversationName,
        /// Whom
        #[arg(value_name = "USER")]
        whom: UserId,
        #[command(flatten)]
        time: TimeArgs,
    },
    /// Have each member write at most once in a time, such as 30s; 0s ends that
    SlowMode {
        /// In which conversation
        conversation: ConversationName,
        /// How long between two messages
        #[arg(value_parser = duration)]
        interval: Duration,
    },
    /// Make an invitation and print its text, or end all invitations
    Invite {
        /// To which conversation
        conversation: ConversationName,
        /// As what who comes with it comes in; default: member of a group, reader of a channel
        #[arg(long, value_parser = role, conflicts_with = "revoke")]
        role: Option<Role>,
        /// How long it holds, such as 12h or 7d; default: until it is revoked
        #[arg(long = "for", value_name = "TIME", value_parser = some_time, conflicts_with = "revoke")]
        holds: Option<Duration>,
        /// How many may come with it; default: any number
        #[arg(long, value_name = "N", value_parser = some_uses, conflicts_with = "revoke")]
        uses: Option<u32>,
        /// End all invitations to it instead
        #[arg(long)]
        revoke: bool,
    },
    /// Tell what a conversation is
    Show {
        /// Which conversation
        conversation: ConversationName,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// List the members, with their roles and whether they are there
    Members {
        /// Of which conversation
        conversation: ConversationName,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// List the conversations that you are a member of
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CreateArgs {
    /// Its name; default: one that the server makes
    #[arg(conflicts_with_all = ["direct", "notes"])]
    pub(crate) conversation: Option<ConversationName>,
    /// What people call it
    #[arg(short, long, value_name = "TITLE", default_value = "", hide_default_value = true, conflicts_with_all = ["direct", "notes"])]
    pub(crate) title: String,
    /// Add this user; may be given several times
    #[arg(short, long = "member", value_name = "USER", conflicts_with_all = ["direct", "notes"])]
    pub(crate) members: Vec<UserId>,
    /// Let anybody join without an invitation
    #[arg(long, conflicts_with_all = ["direct", "notes"])]
    pub(crate) open: bool,
    /// A channel, in which who joins reads; default: a group, in which all write
    #[arg(long, conflicts_with_all = ["direct", "notes"])]
    pub(crate) channel: bool,
    /// The conversation with this user alone, which is there once and for all
    #[arg(long, value_name = "USER", conflicts_with = "notes")]
    pub(crate) direct: Option<UserId>,
    /// Your notes to yourself
    #[arg(long)]
    pub(crate) notes: bool,
}

/// How long something is to hold.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct TimeArgs {
    /// How long, such as 10m, 2h or 7d; default: for ever
    #[arg(long = "for", value_name = "TIME", value_parser = some_time, conflicts_with = "lift")]
    pub(crate) holds: Option<Duration>,
    /// End it
    #[arg(long)]
    pub(crate) lift: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BlockArgs {
    /// Whom; without it all whom you have blocked are listed
    #[arg(value_name = "USER")]
    pub(crate) whom: Option<UserId>,
    /// End it
    #[arg(long, requires = "whom")]
    pub(crate) lift: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SessionsArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SessionsCommand>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `quoth sessions` does instead of listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionsCommand {
    /// Sign another device out; it does not come back by itself
    End {
        /// Which device
        #[arg(value_name = "DEVICE")]
        which: DeviceId,
    },
}

/// How many may come with an invitation; for the protocol 0 is any number.
pub(crate) fn some_uses(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(uses @ 1..) => Ok(uses),
        _ => Err("a number from 1 on; leave it out to let any number of users come with it"),
    }
}

fn role(text: &str) -> Result<Role, &'static str> {
    let roles = [Role::Reader, Role::Member, Role::Admin, Role::Owner];
    roles.into_iter().find(|role| role.to_string() == text).ok_or("a role is reader, member, admin or owner")
}

/// What permissions are called, from the lowest bit on.
const PERMISSIONS: [&str; 6] = ["read", "write", "invite", "moderate", "manage", "delete-any"];

/// What a member may do where that is not what the role may: nothing is said of others.
pub(crate) fn special(role: Role, kind: ConversationKind, permissions: Permissions) -> String {
    if permissions == role.permissions(kind) {
        return String::new();
    }
    let has = |bit: &usize| permissions.contains(Permissions(1 << bit));
    let names: Vec<_> = (0..PERMISSIONS.len()).filter(has).map(|bit| PERMISSIONS[bit]).collect();
    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!(" (may {names})")
}

fn permissions(text: &str) -> Result<Permissions, String> {
    let mut all = Permissions::NONE;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let bit = PERMISSIONS.iter().position(|known| *known == name);
        let bit = bit.ok_or_else(|| format!("{name:?} is none of {}", PERMISSIONS.join(", ")))?;
        all = all.union(Permissions(1 << bit));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments = ["quoth"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(arguments).map(|args| args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn permissions_are_named() {
        assert_eq!(permissions("read,write"), Ok(Permissions(3)));
        assert_eq!(permissions("delete-any"), Ok(Permissions::DELETE_ANY));
        assert_eq!(permissions(""), Ok(Permissions::NONE));
        assert!(permissions("read,fly").unwrap_err().contains("moderate"));
    }

    #[test]
    fn what_differs_from_the_role_is_told() {
        let all = Permissions::ALL;
        let (group, direct) = (ConversationKind::Group, ConversationKind::Direct);
        for (role, kind, permissions, told) in [
            (Role::Reader, group, Permissions::READ, ""),
            (Role::Member, direct, Permissions(3), ""),
            (Role::Member, group, Permissions(3), " (may read, write)"),
            (Role::Member, group, Permissions(49), " (may read, manage, delete-any)"),
            (Role::Reader, group, Permissions::NONE, " (may nothing)"),
            (Role::Owner, group, all, ""),
        ] {
            assert_eq!(special(role, kind, permissions), told);
        }
    }

    #[test]
    fn what_is_missing_and_what_roles_may_do_is_told() {
        for line in ["conversation mute team", "conversation mute team --lift"] {
            let error = parsed(line).unwrap_err();
            assert!(error.contains("USER") && error.contains("--everybody"), "{error}");
        }
        let help = parsed("conversation role --help").unwrap_err();
        for told in ["A reader reads.", "An admin does all", "(moderate)", "(manage)", "(delete-any)"] {
            assert!(help.contains(told), "{help}");
        }
        assert!(parsed("conversation invite team --uses 0").unwrap_err().contains("any number of users"));
    }

    #[test]
    fn what_cannot_go_together_is_refused() {
        for bad in [
            "conversation create team --direct bob",
            "conversation create --direct bob --notes",
            "conversation create --notes --open",
            "conversation mute team bob --for 1h --lift",
            "conversation mute team bob --everybody",
            "conversation invite team --revoke --uses 3",
            "conversation invite team --for 0d",
            "conversation invite team --uses 0",
            "conversation mute team bob --for 0s",
            "conversation ban team bob --for 0h",
            "conversation role team bob king",
            "block --lift",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        for good in [
            "conversation create",
            "conversation create team --member bob --member carol --title Team --open --channel",
            "conversation mute team --everybody --for 1h",
            "conversation role team bob admin --permissions read,write",
            "conversation invite team --uses 1 --for 1h",
            "block",
            "block bob --lift",
            "sessions --json",
            "sessions end phone",
        ] {
            assert!(parsed(good).is_ok(), "{:?}", parsed(good).err());
        }
    }
}
