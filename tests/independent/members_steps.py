"""Steps of the scenarios: conversations with members, presence, devices, being signed out (sections 4, 11 and 12)."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import quoth_members as members
import quoth_wire as wire
from quoth_members import ConversationKind, Role, Status
from quoth_streams import Connection
from quoth_wire import Code
from scenario_run import Run, check_closed, check_reset, end_or_deadline


async def sign_in(run: Run, token: str, device: str | None = None) -> Connection:
    """A connection with MEMBERSHIP in force."""
    peer = await run.connect()
    peer.hello(token, wire.FEATURE_MEMBERSHIP, device=device)
    welcome = await peer.welcome()
    run.check("14 MEMBERSHIP is in force", welcome.features == wire.FEATURE_MEMBERSHIP, welcome)
    return peer


async def step_members(run: Run) -> None:
    """14: a group, from its creation to who is removed from it."""
    me, other = run.claims["sub"], run.second_user
    mine, theirs = await sign_in(run, run.token), await sign_in(run, run.second_token)
    ask, they_ask = mine.control.ask, theirs.control.ask
    name = f"{run.name}-members-{secrets.token_hex(4)}"
    created = await ask(members.Create(name, ConversationKind.GROUP, "Grüße", (), False))
    run.check("14 Create is done with its last event", done_at(created, name, 2), created)
    again = await ask(members.Create(name, ConversationKind.GROUP, "Grüße", (), False))
    run.check("14 asked again nothing changes", again == members.Done(name, 0, 0), again)
    taken = await they_ask(members.Create(name, ConversationKind.GROUP, "", (), False))
    run.check("14 somebody else's name is taken", refused(taken) == Code.ALREADY_EXISTS, taken)
    # Other names that are not there are open to whom their token lets in.
    nowhere_name = "group/" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    for request in (members.Describe(name), members.Members(name, None, 10), members.Join(name), members.Leave(name)):
        answer = await they_ask(request)
        nowhere = await they_ask(type(request)(**{**request.__dict__, "conversation": nowhere_name}))
        good = refused(answer) == Code.FORBIDDEN and answer == nowhere
        run.check(f"14 {type(request).__name__} looks as where there is nothing", good, (answer, nowhere))

    invited = await ask(members.Invite(name, Role.MEMBER, 0, 1))
    run.check("14 Invite gives a text", isinstance(invited, members.Invitation), invited)
    joined = await they_ask(members.Join(name, invited.invitation))
    run.check("14 with which the other joins", done_at(joined, name, 4), joined)
    told = await they_ask(members.Describe(name))
    kept = (members.Retention(), False)
    expected = members.ConversationInfo(name, ConversationKind.GROUP, "Grüße", False, Role.MEMBER, 7, 2, 0, 0, *kept, 4)
    run.check("14 Describe tells what it is", told == members.Conversation(expected), told)
    page = await ask(members.Members(name, None, 1))
    first, last = sorted((me, other), key=lambda user: user.encode())
    run.check("14 Members are a page", page.more and [one.user for one in page.members] == [first], page)
    page = await ask(members.Members(name, first, 1))
    run.check("14 and the next one", not page.more and [one.user for one in page.members] == [last], page)
    mine_too = await they_ask(members.Conversations(None, 100))
    run.check("14 it is among the other's Conversations", expected in mine_too.conversations, mine_too)

    stream = theirs.open(name, run.producer, wire.After(0))
    await stream.opened()
    await ask(members.SetMember(name, other, Role.ADMIN, None))
    await ask(members.Mute(name, other, members.FOR_EVER))
    stream.send(wire.Publish(1, b"muted"))
    answer = await stream.answers.get()
    good = isinstance(answer, wire.Refused) and answer.code == Code.MUTED and answer.retry_after_ms > 0
    run.check("14 who is muted does not write", good, answer)
    await ask(members.Remove(name, other))
    kinds = [(await stream.deliveries.get()).kind for _ in range(7)]
    everything = [
        members.Created(ConversationKind.GROUP, "Grüße", False),
        members.MemberSet(me, Role.OWNER, 63, None, None),
        members.InvitationMade(members.invitation_hash(invited.invitation), Role.MEMBER, 0, 1),
        members.MemberSet(other, Role.MEMBER, 7, None, members.invitation_hash(invited.invitation)),
        members.MemberSet(other, Role.ADMIN, 63, Role.MEMBER, None),
        members.Muted(other, members.FOR_EVER),
        members.MemberGone(other, members.Cause.REMOVED),
    ]
    run.check("14 a reader is told all of it", kinds == everything, kinds)
    await check_reset(run, "14 and nothing behind its end: the stream is reset", stream, Code.FORBIDDEN)
    for peer in (mine, theirs):
        peer.leave()


async def step_user(run: Run) -> None:
    """15: direct conversations, `$me`, blocks."""
    me, other = run.claims["sub"], run.second_user
    mine, theirs = await sign_in(run, run.token), await sign_in(run, run.second_token)
    ask, they_ask = mine.control.ask, theirs.control.ask
    own = mine.open("$me", run.producer, wire.Live())
    await own.opened()
    name = members.direct_name(me, other)
    created = await they_ask(members.Create(None, ConversationKind.DIRECT, "", (me,), False))
    run.check("15 a direct conversation has the name of its users", created.conversation == name, created)
    told = (await own.deliveries.get()).kind
    belongs = members.Belongs(name, ConversationKind.DIRECT, "", Role.MEMBER)
    run.check("15 $me tells of it", told == belongs, told)
    described = await ask(members.Describe(name))
    run.check("15 it is called by the other", described.info.title == other, described)
    blocked = await ask(members.Block(other, True))
    run.check("15 Block is done in $me", blocked.conversation == "$me" and blocked.seq > 0, blocked)
    told = (await own.deliveries.get()).kind
    run.check("15 and told there", told == members.BlockedUser(other, True), told)
    users = await ask(members.Blocked())
    run.check("15 Blocked lists the user", users == members.Users((other,)), users)
    stream = theirs.open(name, run.producer, wire.Live())
    await stream.opened()
    stream.send(wire.Publish(1, b"blocked"))
    answer = await stream.answers.get()
    run.check("15 who is blocked reads and does not write", answer == wire.Refused(1, Code.FORBIDDEN), answer)
    writer = theirs.open(name, run.producer, None)
    await check_reset(run, "15 a stream for writing alone is reset", writer, Code.FORBIDDEN)
    await ask(members.Block(other, False))
    own.send(wire.Publish(1, b"to myself"))
    answer = await own.answers.get()
    run.check("15 nobody publishes to $me", answer == wire.Refused(1, Code.FORBIDDEN), answer)
    for peer in (mine, theirs):
        peer.leave()


async def step_devices(run: Run) -> None:
    """16: presence, devices, and being signed out."""
    other = run.second_user
    device = f"phone-{secrets.token_hex(4)}"
    mine, theirs = await sign_in(run, run.token), await sign_in(run, run.second_token, device)
    made = await mine.control.ask(members.Create(None, ConversationKind.GROUP, "", (other,), False))
    is_made = made.conversation.startswith("group/") and len(made.conversation) == 28
    run.check("16 the server makes a name", is_made, made)
    watched = await mine.control.ask(members.WatchPresence(made.conversation, True))
    run.check("16 WatchPresence is done", watched == members.Done(made.conversation, 0, 0), watched)
    here = await mine.control.presences.get()
    good = (here.conversation, here.user, here.status) == (made.conversation, other, Status.ONLINE)
    run.check("16 and who is there is told", good, here)
    theirs.control.send(wire.StatusNotice(True))
    away = await mine.control.presences.get()
    run.check("16 and who is away", (away.user, away.status) == (other, Status.AWAY), away)
    second = await sign_in(run, run.second_token)
    listed = await second.control.ask(members.Sessions())
    found = {one.device: one.status for one in listed.sessions}
    run.check("16 Sessions lists the devices", found.get(device) == Status.AWAY, listed)
    ended = await second.control.ask(members.EndSession(device))
    run.check("16 EndSession is done", ended.conversation == "$me", ended)
    goodbye = await theirs.control.frames.get()
    good = isinstance(goodbye, wire.GoAway) and goodbye.code == Code.KICKED and goodbye.reason != ""
    run.check("16 who is signed out is told why", good, goodbye)
    await check_closed(run, "16 and closed", theirs, Code.KICKED)
    again = await sign_in(run, run.second_token, device)
    later = await sign_in(run, run.second_token, device)
    end = await end_or_deadline(again.ends)
    run.check("16 the later connection of a device stays", getattr(end, "code", None) == Code.REPLACED, end)
    again.abandon()
    for peer in (mine, second, later):
        peer.leave()


def done_at(reply: Any, conversation: str, seq: int) -> bool:
    """Whether a request is done with this last event."""
    if not isinstance(reply, members.Done):
        return False
    return (reply.conversation, reply.seq) == (conversation, seq) and reply.time_ms > 0


def refused(reply: Any) -> int | None:
    """The code of a refusal."""
    return reply.code if isinstance(reply, members.RefusedRequest) else None


STEPS = [step_members, step_user, step_devices]
