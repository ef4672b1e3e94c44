//! The command line of `quoth admin`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use quoth_client::protocol::membership::InvitationHash;
use quoth_client::{ConversationName, DeviceId, UserId};

use super::retention::RetentionCommand;
use crate::args::{duration, end_ms, moment_ms, some_uses};

/// What the operator does.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// Where the server API is, and with which key it is used.
#[derive(Debug, Clone, Args)]
pub(crate) struct ApiArgs {
    /// URL of the server API, as in `--api https://chat.example:4434`, or HOST:PORT, which is http:// on
    /// loopback and https:// elsewhere; default: that of this machine's development server [env: QUOTH_API]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// File with a key of the server's api.keys [env: QUOTH_API_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    #[command(flatten)]
    One(OneCommand),
    #[command(flatten)]
    Many(ManyCommand),
}

impl AdminCommand {
    /// Whether `--device` says which device it is done to.
    pub(super) const fn takes_device(&self) -> bool {
        matches!(
            self,
            Self::One(OneCommand::Kick { .. } | OneCommand::Revoke { .. } | OneCommand::Unrevoke { .. })
        )
    }
}

/// What takes as many requests as there are messages for.
#[derive(Debug, Subcommand)]
pub(crate) enum ManyCommand {
    /// Publish many messages in order, past memberships, and say what has become of each
    ///
    /// FILE has a JSON object in each line, as the server API has them: conversation (or conversations, a
    /// list), text (or base64), and perhaps publish_as, origin_time_ms, reply_to, mentions, expires_in_ms and
    /// idempotency_key, with which the same line is stored once however often it is sent. All lines are read
    /// before the first message goes. A message that is refused holds up no other; the exit code is 1 then.
    Batch {
        /// The file; - is the standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Publish one message to many conversations, past memberships, and say what has become of each
    ///
    /// A conversation where it is refused holds up no other; the exit code is 1 then.
    Broadcast {
        /// Where to; may be repeated
        #[arg(long, value_name = "CONVERSATION", required_unless_present = "to_file")]
        to: Vec<ConversationName>,
        /// File with a conversation in each line; - is the standard input
        #[arg(long, value_name = "FILE")]
        to_file: Option<PathBuf>,
        /// The message; several words are joined by spaces
        #[arg(required = true)]
        text: Vec<String>,
        #[command(flatten)]
        message: Message,
    },
}

/// What is said of a message besides its text and where it goes.
#[derive(Debug, Default, Args)]
pub(crate) struct Message {
    /// In whose name; default: the key's name
    #[arg(long = "as", value_name = "USER")]
    pub(crate) publish_as: Option<UserId>,
    /// The seq of the message that it answers
    #[arg(long, value_name = "SEQ")]
    pub(crate) reply_to: Option<u64>,
    /// Whom it mentions; may be repeated
    #[arg(long, value_name = "USER")]
    pub(crate) mention: Vec<UserId>,
    /// When it becomes absent, such as 10m, 2h or 7d from now; default: when its conversation's retention
    /// says so
    #[arg(long = "expires", value_name = "TIME", value_parser = duration)]
    pub(crate) expires_in: Option<Duration>,
    /// Idempotency key: publishing again with it writes nothing
    #[arg(long, value_name = "KEY")]
    pub(crate) once: Option<String>,
}

/// What takes one request.
#[derive(Debug, Subcommand)]
pub(crate) enum OneCommand {
    /// How the server does
    Stats,
    /// Publish a message in anybody's name, past memberships
    Publish {
        /// Where to
        conversation: ConversationName,
        /// The message; several words are joined by spaces
        #[arg(required = true)]
        text: Vec<String>,
        #[command(flatten)]
        message: Message,
    },
    /// Messages that are said
    #[command(subcommand)]
    Message(MessageCommand),
    /// Print a page of a conversation's events
    History {
        /// Which conversation
        conversation: ConversationName,
        #[command(flatten)]
        place: Place,
        /// At most so many
        #[arg(short = 'n', long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Managed conversations
    #[command(subcommand)]
    Conversation(ConversationCommand),
    /// Members of a managed conversation
    #[command(subcommand)]
    Member(MemberCommand),
    /// A user's devices, connected or not
    Sessions {
        /// Whose
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
    },
    /// Whether a user is there, and on which devices
    Presence {
        /// Who
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
    },
    /// End a user's connections; they may come back, unless their tokens are revoked
    Kick {
        /// Whose
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
        /// Of this device only
        #[arg(long, value_name = "DEVICE")]
        device: Option<DeviceId>,
        /// Why, for people
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// Revoke tokens, and end the connections that were signed in with them
    ///
    /// Of a user, or of one device: all that are out by now, or those that were issued before
    /// --issued-before. The issuer's clock may be ahead by up to 30 s, so without --issued-before tokens that
    /// are issued within the next 30 s are refused too: a new one is good after that.
    ///
    /// What was revoked before stays in force beside it, each until its own end, unless the new one has at
    /// least as many tokens for at least as long.
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Tokens that were issued before this moment, a date or time (UTC) such as 2026-01-31T12:00, or how
        /// long ago it was, such as 2h
        #[arg(long = "issued-before", value_name = "TIME", value_parser = moment_ms, conflicts_with = "token_id")]
        issued_before_ms: Option<u64>,
        /// Those to come too, until it is lifted with `unrevoke`: shuts a user or a device out
        #[arg(long, conflicts_with_all = ["token_id", "issued_before_ms"])]
        for_good: bool,
        /// Forget it so long from now, when the last token that it concerns has ended, such as 30d; default:
        /// never
        #[arg(long = "expires", value_name = "TIME", value_parser = end_ms)]
        expires_ms: Option<u64>,
        /// Why, for people
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// What is revoked, of a user, a device or a token perhaps several times
    Revocations {
        /// The page behind the one that has told this as its `next`
        #[arg(long, value_name = "NEXT")]
        after: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// A user and what is left of one
    #[command(subcommand)]
    User(UserCommand),
    /// How long what is said is kept, and when its space is freed
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// End all revocations of a user, of a device, or of a token
    Unrevoke {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Make one say something else; only its sender does, so say who that is
    Edit {
        #[command(flatten)]
        message: Said,
        /// All that it is to say; several words are joined by spaces
        #[arg(required = true)]
        text: Vec<String>,
        /// Whom it is to mention; may be repeated
        #[arg(long, value_name = "USER")]
        mention: Vec<UserId>,
    },
    /// Make one absent for everybody, whoever has written it
    Revoke {
        #[command(flatten)]
        message: Said,
    },
    /// React to one
    React {
        #[command(flatten)]
        message: Said,
        /// An emoji or a short word
        reaction: String,
        /// Take it back
        #[arg(long)]
        off: bool,
    },
}

/// A message, and in whose name something is done to it.
#[derive(Debug, Args)]
pub(crate) struct Said {
    /// Where it is
    pub(crate) conversation: ConversationName,
    /// Its seq
    pub(crate) seq: u64,
    /// In whose name; default: the key's name
    #[arg(long = "as", value_name = "USER")]
    pub(crate) by: Option<UserId>,
}

/// Which tokens are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// All of this user
    #[arg(
        id = "of",
        long,
        required_unless_present = "token_id",
        conflicts_with = "token_id",
        value_name = "USER"
    )]
    pub(crate) user: Option<UserId>,
    /// Of this device of the user only: a token with the claim `device` is bound to it, any other one can be
    /// used under another id, so revoke the user's then
    #[arg(long, requires = "of", value_name = "DEVICE")]
    pub(crate) device: Option<DeviceId>,
    /// The one with this id (jti)
    #[arg(long, value_name = "ID")]
    pub(crate) token_id: Option<String>,
}

/// Where a page of history lies; without any of these it has the last events.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Place {
    /// The first ones behind this seq
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,
    /// The last ones before this seq
    #[arg(long, value_name = "SEQ")]
    pub(crate) before: Option<u64>,
    /// Those on both sides of this seq
    #[arg(long, value_name = "SEQ")]
    pub(crate) around: Option<u64>,
    /// The first ones of this time or later, in milliseconds since 1970
    #[arg(long, value_name = "MS")]
    pub(crate) after_time_ms: Option<u64>,
    /// The last ones before this time
    #[arg(long, value_name = "MS")]
    pub(crate) before_time_ms: Option<u64>,
    /// Those on both sides of this time
    #[arg(long, value_name = "MS")]
    pub(crate) around_time_ms: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Take away what there is of a user, in all conversations; it goes on by itself
    ///
    /// Messages, reactions, memberships, receipts, devices and the user's own log go. The answer says what
    /// stays, and when the rest is gone from the disk. What the user does meanwhile may stay: shut the user
    /// out first with `quoth admin revoke --of USER --for-good`.
    Erase {
        /// Whose
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
    },
    /// How far that is, when all of it is gone from the disk, and what stays
    Erasure {
        /// Whose
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
    },
    /// Block somebody in a user's name: nothing of that one comes to the user in a direct conversation
    Block {
        /// Who wants nothing of the other one
        #[arg(id = "blocking", value_name = "USER")]
        user: UserId,
        /// The other one
        #[arg(value_name = "OTHER")]
        whom: UserId,
    },
    /// End a block
    Unblock {
        /// Whose
        #[arg(id = "blocking", value_name = "USER")]
        user: UserId,
        /// Who was blocked
        #[arg(value_name = "OTHER")]
        whom: UserId,
    },
    /// List whom a user has blocked
    Blocked {
        /// Whose
        #[arg(id = "blocking", value_name = "USER")]
        user: UserId,
    },
}

/// What a conversation is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Kind {
    /// All members write
    Group,
    /// Few write, and who joins reads
    Channel,
    /// The owner and one other
    Direct,
    /// The owner alone
    Notes,
}

/// What a member is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// Reads
    Reader,
    /// Reads, writes, invites
    Member,
    /// Does everything, but not to owners
    Admin,
    /// Does everything
    Owner,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConversationCommand {
    /// Make one
    Create {
        /// Its name; default: the server makes one
        conversation: Option<ConversationName>,
        /// Whose it is
        #[arg(long, value_name = "USER")]
        owner: UserId,
        /// What it is to be
        #[arg(long, default_value = "group", value_name = "KIND")]
        kind: Kind,
        /// What people call it
        #[arg(long, default_value = "", value_name = "TEXT")]
        title: String,
        /// Who is in it from the beginning; may be repeated
        #[arg(long, value_name = "USER")]
        member: Vec<UserId>,
        /// Let anybody join
        #[arg(long)]
        open: bool,
        /// Idempotency key: one without a name that is made again with it is the same
        #[arg(long, value_name = "KEY")]
        once: Option<String>,
    },
    /// What one is
    Show {
        /// Which
        conversation: ConversationName,
    },
    /// All of them, in no order that means anything
    List {
        /// Behind this one
        #[arg(long, value_name = "NAME")]
        after: Option<ConversationName>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Those that a user is in
    Of {
        /// Who
        #[arg(id = "whom", value_name = "USER")]
        user: UserId,
        /// Behind this one
        #[arg(long, value_name = "NAME")]
        after: Option<ConversationName>,
    },
    /// Set the title
    Rename {
        /// Which
        conversation: ConversationName,
        /// What people call it
        title: String,
    },
    /// Keep all who may not moderate from writing
    Mute {
        /// Which
        conversation: ConversationName,
        /// How long, such as 10m, 2h or 7d; default: for ever
        #[arg(long = "for", value_name = "TIME", value_parser = end_ms)]
        until_ms: Option<u64>,
    },
    /// Let all write again
    Unmute {
        /// Which
        conversation: ConversationName,
    },
    /// Let each member write once in a time, such as 30s; 0s: as often as they like
    SlowMode {
        /// Which
        conversation: ConversationName,
        /// How long between two messages
        #[arg(value_parser = duration)]
        interval: Duration,
    },
    /// Make an invitation and print it
    Invite {
        /// To which
        conversation: ConversationName,
        /// As what who comes with it comes in: mostly member of a group, reader of a channel
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// How long it holds, such as 12h or 7d; default: until it is revoked
        #[arg(long = "for", value_name = "TIME", value_parser = end_ms)]
        expires_ms: Option<u64>,
        /// How many may come with it; default: any number
        #[arg(long, value_name = "N", value_parser = some_uses)]
        uses_max: Option<u32>,
    },
    /// The invitations that hold
    Invitations {
        /// To which
        conversation: ConversationName,
    },
    /// End one invitation
    RevokeInvitation {
        /// To which
        conversation: ConversationName,
        /// Which one: its hash, as `invitations` shows it
        hash: InvitationHash,
    },
    /// End all invitations
    RevokeInvitations {
        /// To which
        conversation: ConversationName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Who is in it
    List {
        /// Where
        conversation: ConversationName,
        /// Behind this user
        #[arg(long, value_name = "USER")]
        after: Option<UserId>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Add one, or change one's role
    #[command(visible_alias = "add")]
    Set {
        #[command(flatten)]
        whom: Whom,
        /// As what
        #[arg(long, value_name = "ROLE")]
        role: Role,
    },
    /// End a membership
    Remove {
        #[command(flatten)]
        whom: Whom,
    },
    /// Keep one from writing
    Mute {
        #[command(flatten)]
        whom: Whom,
        /// How long, such as 10m, 2h or 7d; default: for ever
        #[arg(long = "for", value_name = "TIME", value_parser = end_ms)]
        until_ms: Option<u64>,
    },
    /// Let one write again
    Unmute {
        #[command(flatten)]
        whom: Whom,
    },
    /// End a membership and keep the user out
    Ban {
        #[command(flatten)]
        whom: Whom,
        /// How long, such as 10m, 2h or 7d; default: for ever
        #[arg(long = "for", value_name = "TIME", value_parser = end_ms)]
        until_ms: Option<u64>,
    },
    /// Who is banned, and until when
    Banned {
        /// Where
        conversation: ConversationName,
        /// Behind this user
        #[arg(long, value_name = "USER")]
        after: Option<UserId>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Let one join again
    Unban {
        #[command(flatten)]
        whom: Whom,
    },
}

/// A user in a conversation.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Where
    pub(crate) conversation: ConversationName,
    /// Who
    #[arg(id = "whom", value_name = "USER")]
    pub(crate) user: UserId,
}
