"""Requests, replies, and what happens to members, of the Quoth protocol (sections 3, 11 and 12 of docs/PROTOCOL.md).

Pure: no sockets, no clock. A class is named as in the protocol, but for those whose name another one has there.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass

from quoth_codec import (
    BOOL,
    CONVERSATION,
    DEVICE,
    SEQ,
    TEXT,
    U32,
    U64,
    USER,
    Type,
    fixed_bytes,
    list_of,
    numbers,
    option,
    struct,
)

READ, WRITE, INVITE, MODERATE, MANAGE, DELETE_ANY = (1 << bit for bit in range(6))
FOR_EVER = 2**64 - 1


class Status(enum.IntEnum):
    ONLINE = 0
    AWAY = 1
    OFFLINE = 2


class ConversationKind(enum.IntEnum):
    GROUP = 0
    CHANNEL = 1
    DIRECT = 2
    NOTES = 3


class Role(enum.IntEnum):
    READER = 0
    MEMBER = 1
    ADMIN = 2
    OWNER = 3


class Cause(enum.IntEnum):
    LEFT = 0
    REMOVED = 1
    BANNED = 2


def direct_name(one: str, other: str) -> str:
    """The name of the conversation of two users."""
    ids = sorted(user.encode("utf-8") for user in (one, other))
    return "direct/" + hashlib.sha256(b"".join(bytes([len(user)]) + user for user in ids)).hexdigest()[:32]


def invitation_hash(invitation: str) -> bytes:
    """What events say of an invitation's text."""
    return hashlib.sha256(invitation.encode("utf-8")).digest()[:16]


# The kinds of an event, but for messages.


@dataclass(frozen=True)
class Created:
    kind: ConversationKind
    title: str
    open: bool


@dataclass(frozen=True)
class Renamed:
    title: str


@dataclass(frozen=True)
class MemberSet:
    user: str
    role: Role
    permissions: int
    previous: Role | None
    invitation: bytes | None


@dataclass(frozen=True)
class MemberGone:
    user: str
    cause: Cause


@dataclass(frozen=True)
class Muted:
    user: str | None
    until_ms: int


@dataclass(frozen=True)
class Banned:
    user: str
    until_ms: int


@dataclass(frozen=True)
class SlowModeSet:
    """`SlowMode` of the events."""

    interval_ms: int


@dataclass(frozen=True)
class InvitationMade:
    hash: bytes
    role: Role
    expires_ms: int
    uses_max: int


@dataclass(frozen=True)
class InvitationsRevoked:
    pass


@dataclass(frozen=True)
class Belongs:
    conversation: str
    kind: ConversationKind
    title: str
    role: Role


@dataclass(frozen=True)
class BelongsNoMore:
    conversation: str
    cause: Cause


@dataclass(frozen=True)
class BlockedUser:
    """`Blocked` of the events."""

    user: str
    blocked: bool


# Request.


@dataclass(frozen=True)
class Create:
    conversation: str | None
    kind: ConversationKind
    title: str = ""
    members: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True)
class Join:
    conversation: str
    invitation: str | None = None


@dataclass(frozen=True)
class Leave:
    conversation: str


@dataclass(frozen=True)
class SetMember:
    conversation: str
    user: str
    role: Role
    permissions: int | None = None


@dataclass(frozen=True)
class Remove:
    conversation: str
    user: str


@dataclass(frozen=True)
class Rename:
    conversation: str
    title: str


@dataclass(frozen=True)
class Mute:
    conversation: str
    user: str | None
    until_ms: int


@dataclass(frozen=True)
class Ban:
    conversation: str
    user: str
    until_ms: int


@dataclass(frozen=True)
class SlowMode:
    conversation: str
    interval_ms: int


@dataclass(frozen=True)
class Invite:
    conversation: str
    role: Role
    expires_ms: int = 0
    uses_max: int = 0


@dataclass(frozen=True)
class RevokeInvitations:
    conversation: str


@dataclass(frozen=True)
class Describe:
    conversation: str


@dataclass(frozen=True)
class Members:
    conversation: str
    after: str | None
    limit: int


@dataclass(frozen=True)
class Block:
    user: str
    blocked: bool


@dataclass(frozen=True)
class Blocked:
    pass


@dataclass(frozen=True)
class Sessions:
    pass


@dataclass(frozen=True)
class EndSession:
    device: str


@dataclass(frozen=True)
class Conversations:
    after: str | None
    limit: int


@dataclass(frozen=True)
class WatchPresence:
    conversation: str
    watch: bool


# Reply.


@dataclass(frozen=True)
class Done:
    conversation: str
    seq: int
    time_ms: int


@dataclass(frozen=True)
class RefusedRequest:
    """`Refused` of the replies."""

    code: int
    retry_after_ms: int
    reason: str


@dataclass(frozen=True)
class Invitation:
    invitation: str


@dataclass(frozen=True)
class Retention:
    """How long events are kept (section 13). 0 in a field is no bound."""

    age_s: int = 0
    count: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class ConversationInfo:
    conversation: str
    kind: ConversationKind | None
    title: str
    open: bool
    role: Role | None
    permissions: int
    members: int
    muted_until_ms: int
    slow_mode_interval_ms: int
    retention: Retention
    own_retention: bool
    version: int


@dataclass(frozen=True)
class Conversation:
    info: ConversationInfo


@dataclass(frozen=True)
class MemberInfo:
    user: str
    role: Role
    permissions: int
    muted_until_ms: int
    status: Status
    last_seen_ms: int


@dataclass(frozen=True)
class MemberPage:
    """`Members` of the replies."""

    members: tuple[MemberInfo, ...]
    more: bool


@dataclass(frozen=True)
class Users:
    users: tuple[str, ...]


@dataclass(frozen=True)
class SessionInfo:
    device: str
    platform: str
    generation: int
    status: Status
    connected_ms: int
    last_seen_ms: int


@dataclass(frozen=True)
class SessionList:
    """`Sessions` of the replies."""

    sessions: tuple[SessionInfo, ...]


@dataclass(frozen=True)
class ConversationPage:
    """`Conversations` of the replies."""

    conversations: tuple[ConversationInfo, ...]
    more: bool


# Types of the encoding.

STATUS, KIND, ROLE, CAUSE = (numbers(cls) for cls in (Status, ConversationKind, Role, Cause))
HASH = fixed_bytes(16)
RETENTION = struct(Retention, U64, U64, U64)
INFO = struct(
    ConversationInfo,
    *(CONVERSATION, option(KIND), TEXT, BOOL, option(ROLE), U32, U32, U64, U32, RETENTION, BOOL, SEQ),
)
MEMBER = struct(MemberInfo, USER, ROLE, U32, U64, STATUS, U64)
SESSION = struct(SessionInfo, DEVICE, TEXT, U64, STATUS, U64, U64)

KINDS: tuple[tuple[type, tuple[Type, ...]], ...] = (
    (Created, (KIND, TEXT, BOOL)),
    (Renamed, (TEXT,)),
    (MemberSet, (USER, ROLE, U32, option(ROLE), option(HASH))),
    (MemberGone, (USER, CAUSE)),
    (Muted, (option(USER), U64)),
    (Banned, (USER, U64)),
    (SlowModeSet, (U32,)),
    (InvitationMade, (HASH, ROLE, U64, U32)),
    (InvitationsRevoked, ()),
    (Belongs, (CONVERSATION, KIND, TEXT, ROLE)),
    (BelongsNoMore, (CONVERSATION, CAUSE)),
    (BlockedUser, (USER, BOOL)),
)
REQUESTS: tuple[tuple[type, tuple[Type, ...]], ...] = (
    (Create, (option(CONVERSATION), KIND, TEXT, list_of(USER), BOOL)),
    (Join, (CONVERSATION, option(TEXT))),
    (Leave, (CONVERSATION,)),
    (SetMember, (CONVERSATION, USER, ROLE, option(U32))),
    (Remove, (CONVERSATION, USER)),
    (Rename, (CONVERSATION, TEXT)),
    (Mute, (CONVERSATION, option(USER), U64)),
    (Ban, (CONVERSATION, USER, U64)),
    (SlowMode, (CONVERSATION, U32)),
    (Invite, (CONVERSATION, ROLE, U64, U32)),
    (RevokeInvitations, (CONVERSATION,)),
    (Describe, (CONVERSATION,)),
    (Members, (CONVERSATION, option(USER), U32)),
    (Block, (USER, BOOL)),
    (Blocked, ()),
    (Sessions, ()),
    (EndSession, (DEVICE,)),
    (Conversations, (option(CONVERSATION), U32)),
    (WatchPresence, (CONVERSATION, BOOL)),
)
REPLIES: tuple[tuple[type, tuple[Type, ...]], ...] = (
    (Done, (CONVERSATION, SEQ, U64)),
    (RefusedRequest, (U32, U32, TEXT)),
    (Invitation, (TEXT,)),
    (Conversation, (INFO,)),
    (MemberPage, (list_of(MEMBER), BOOL)),
    (Users, (list_of(USER),)),
    (SessionList, (list_of(SESSION),)),
    (ConversationPage, (list_of(INFO), BOOL)),
)

# Names in JSON (section 10) of classes that are not called as in the protocol.
JSON_NAMES: dict[type, str] = {
    SlowModeSet: "slow_mode",
    BlockedUser: "blocked",
    RefusedRequest: "refused",
    MemberPage: "members",
    SessionList: "sessions",
    ConversationPage: "conversations",
}
