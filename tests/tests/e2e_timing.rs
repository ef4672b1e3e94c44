//! Nothing is told by how long an answer takes: where there is no such conversation it takes as long as where
//! the user is no member.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use quoth_protocol::frame::Start;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_tests::device::Over;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::member::Member;

/// How often each is asked in each condition, in turns, so that whatever else the machine does concerns all
/// alike.
const ROUNDS: usize = 200;

/// First deciles are compared: what else the machine does only ever adds, and on a busy one to more than
/// three quarters. What is looked for are further reads of the disk or of the network, or a wait for a flush, which add
/// to all, and make several times as much of it.
const RATIO_MAX: f64 = 1.5;

/// How things are that nobody may tell apart.
const CONDITIONS: [&str; 3] = ["nowhere", "not a member", "banned"];

/// Ways to ask.
const ASKS: [&str; 5] = ["describe", "members", "rename", "fetch", "open"];

/// The conditions of a round in their order. Each follows each other one equally often, so that what an answer leaves
/// to be done concerns all alike.
fn in_turn(round: usize) -> impl Iterator<Item = usize> {
    let count = CONDITIONS.len();
    (0..count).map(move |turn| {
        (round + if (round / count).is_multiple_of(2) { turn } else { count - 1 - turn }) % count
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn signed_in(server: &EmbeddedServer, user: &str) -> anyhow::Result<Member> {
    let token = server.token_with(user, |_| {})?;
    Member::connect(Over::Quic, server.address(), &server.ca_file(), &token).await
}

/// Asks, is refused, and says how long that took.
async fn ask(member: &mut Member, ask: &str, name: &ConversationName) -> anyhow::Result<Duration> {
    let conversation = name.clone();
    let began_at = Instant::now();
    let code = match ask {
        "describe" => member.refused(Request::Describe { conversation }).await?,
        "members" => member.refused(Request::Members { conversation, after: None, limit: 1 }).await?,
        "rename" => member.refused(Request::Rename { conversation, title: "mine".to_owned() }).await?,
        "fetch" => member.fetch(&conversation).await?.err().unwrap_or(Code::CLOSED),
        "open" => member.open(&conversation, Some(Start::Live)).await?.err().unwrap_or(Code::CLOSED),
        other => bail!("{other}"),
    };
    let took = began_at.elapsed();
    assert_eq!(code, Code::FORBIDDEN, "{ask} of {name}");
    Ok(took)
}

/// The first deciles of what each condition took, the conditions being those of the index.
fn first_deciles(took: &mut BTreeMap<usize, Vec<Duration>>) -> Vec<Duration> {
    let first_decile = |took: &mut Vec<Duration>| {
        took.sort_unstable();
        took[took.len() / 10]
    };
    took.values_mut().map(first_decile).collect()
}

fn assert_alike(what: &str, took: &mut BTreeMap<usize, Vec<Duration>>) {
    let deciles = first_deciles(took);
    let (least, most) = (deciles.iter().min().expect("some"), deciles.iter().max().expect("some"));
    let ratio = most.as_secs_f64() / least.as_secs_f64();
    println!("{what}: {CONDITIONS:?} took {deciles:?}, ratio {ratio:.2}");
    assert!(ratio <= RATIO_MAX, "{what}: {CONDITIONS:?} took {deciles:?}, ratio {ratio:.2}");
}

/// A group of two others, from which a user may be banned.
async fn group(boss: &mut Member, bans: Option<&UserId>) -> anyhow::Result<ConversationName> {
    let create = Request::Create {
        conversation: None,
        kind: ConversationKind::Group,
        title: String::new(),
        members: vec![UserId::new("bob")?],
        open: false,
    };
    let (conversation, _) = boss.done(create).await?;
    if let Some(user) = bans {
        let (conversation, user) = (conversation.clone(), user.clone());
        boss.done(Request::Ban { conversation, user, until_ms: u64::MAX }).await?;
    }
    Ok(conversation)
}

/// A conversation for each condition. Names of the server's making are never unmanaged, so that tokens do not
/// count.
async fn conversations(boss: &mut Member, nth: u8) -> anyhow::Result<[ConversationName; 3]> {
    let eve = UserId::new("eve")?;
    let nowhere = ConversationName::group([nth; 16]);
    Ok([nowhere, group(boss, None).await?, group(boss, Some(&eve)).await?])
}

#[test]
fn a_refusal_takes_as_long_whether_or_not_there_is_such_a_conversation() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    runtime()?.block_on(async {
        let (mut boss, mut eve) = (signed_in(&server, "boss").await?, signed_in(&server, "eve").await?);
        let names = conversations(&mut boss, 0).await?;
        for way in ASKS {
            let mut took: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
            for round in 0..ROUNDS {
                for condition in in_turn(round) {
                    let lasted = ask(&mut eve, way, &names[condition]).await?;
                    took.entry(condition).or_default().push(lasted);
                }
            }
            assert_alike(way, &mut took);
        }
        Ok(())
    })
}

#[test]
fn nor_does_the_first_one_behind_a_restart() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let runtime = runtime()?;
    let names = runtime.block_on(async {
        let mut boss = signed_in(&server, "boss").await?;
        let mut names = Vec::new();
        for nth in 0..ROUNDS {
            names.push(conversations(&mut boss, u8::try_from(nth)?).await?);
        }
        anyhow::Ok(names)
    })?;
    let server = server.restart_configured(|_| {})?;
    runtime.block_on(async {
        let mut eve = signed_in(&server, "eve").await?;
        let mut took: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        for (round, names) in names.iter().enumerate() {
            for condition in in_turn(round) {
                let lasted = ask(&mut eve, "describe", &names[condition]).await?;
                took.entry(condition).or_default().push(lasted);
            }
        }
        assert_alike("the first describe", &mut took);
        Ok(())
    })
}
