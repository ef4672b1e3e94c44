//! The first page of the inbox of a user with many conversations, over that of one with as many as a page
//! has.
//!
//! Each conversation is a group of two with one message. Both users ask in turns, over connections of their
//! own.

use std::time::Instant;

use anyhow::{bail, ensure};
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};

use super::client::{body, runtime};
use super::machine::settle;
use super::report::Times;
use super::target::Target;
use super::{Plan, Report};
use crate::device::{Next, Over};
use crate::member::Member;
use crate::wire::publish;

/// Rows of a page, and conversations of the user with few.
const PAGE: u64 = 50;

/// Pages that each user asks for in a round.
const READS: usize = 500;

/// Connections that make the conversations.
const WRITERS: u64 = 8;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let quoth = Target::quoth(&plan.dir)?;
    ensure!(plan.inbox_conversations >= PAGE, "a page has {PAGE} conversations");
    runtime()?.block_on(async {
        fill(&quoth, "few", PAGE).await?;
        fill(&quoth, "many", plan.inbox_conversations).await?;
        settle(quoth.pid())?;
        let mut few = member(&quoth, "few").await?;
        let mut many = member(&quoth, "many").await?;
        for _ in 0..plan.rounds {
            let (mut of_few, mut of_many) = (Times::default(), Times::default());
            for _ in 0..READS {
                page(&mut few, &mut of_few).await?;
                page(&mut many, &mut of_many).await?;
            }
            let note = format!(
                "p50 {:.3} ms with {} conversations, {:.3} with {PAGE}; p99 {:.3}, {:.3}",
                of_many.ms(0.5),
                plan.inbox_conversations,
                of_few.ms(0.5),
                of_many.ms(0.99),
                of_few.ms(0.99),
            );
            report.round(of_many.ms(0.5) / of_few.ms(0.5), note);
        }
        Ok(())
    })
}

async fn member(target: &Target, user: &str) -> anyhow::Result<Member> {
    target.site().member(Over::Quic, user).await
}

/// Asks for the first page.
async fn page(member: &mut Member, times: &mut Times) -> anyhow::Result<()> {
    let started = Instant::now();
    let (rows, _, _) = member.inbox(None, u32::try_from(PAGE)?).await?;
    times.push(started.elapsed());
    ensure!(rows.len() as u64 == PAGE, "a page of {} rows", rows.len());
    Ok(())
}

/// Makes groups of which the user is a member, each with a message of somebody else.
async fn fill(target: &Target, user: &str, conversations: u64) -> anyhow::Result<()> {
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let mut member = member(target, &format!("writer-{writer}")).await?;
        let user = UserId::new(user)?;
        tasks.push(tokio::spawn(async move {
            for number in (writer..conversations).step_by(usize::try_from(WRITERS)?) {
                write(&mut member, ConversationName::new(format!("{user}-{number}"))?, &user).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn write(member: &mut Member, conversation: ConversationName, with: &UserId) -> anyhow::Result<()> {
    let create = Request::Create {
        conversation: Some(conversation.clone()),
        kind: ConversationKind::Group,
        title: String::new(),
        members: vec![with.clone()],
        open: false,
    };
    member.done(create).await?;
    let mut stream = member.enter(&conversation, None).await?;
    member.send(&mut stream, &publish(1, body(Instant::now()))).await?;
    match member.next(&mut stream).await? {
        Next::Frame(ServerFrame::Ack { .. }) => member.leave(stream).await,
        other => bail!("not an ack: {other:?}"),
    }
}
