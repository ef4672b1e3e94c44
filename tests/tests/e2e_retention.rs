//! What is absent is absent for every reader at once, what is missing is told exactly, and the space follows.

#[path = "e2e_retention/beforehand.rs"]
mod beforehand;
#[path = "e2e_retention/space.rs"]
mod space;
#[path = "e2e_retention/stalled.rs"]
mod stalled;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quoth_core::retention::RetentionClass;
use quoth_protocol::frame::{ClientFrame, EventKind, Fetch, FetchRange, Publish, ServerFrame, Start};
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, ConversationName};
use quoth_tests::device::{Next, Over};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::Api;
use quoth_tests::member::Member;
use quoth_tests::process::ServerProcess;
use serde_json::{Value, json};

/// How long anything may take. A bound of a hang, not a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a reader is told of a conversation: events by seq, and gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Event(u64),
    Gap(u64, u64),
}
use Told::{Event, Gap};

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).expect("a name")
}

async fn member(server: &EmbeddedServer, user: &str) -> anyhow::Result<Member> {
    let token = server.token_with(user, |_| {})?;
    Member::connect(Over::Quic, server.address(), &server.ca_file(), &token).await
}

fn told(frame: ServerFrame) -> Option<Told> {
    match frame {
        ServerFrame::Event(event) => Some(Event(event.seq.0)),
        ServerFrame::Gap { from, to } => Some(Gap(from.0, to.0)),
        _ => None,
    }
}

/// Everything from the first event on, as a new reader is told it.
async fn replay(server: &EmbeddedServer, user: &str, room: &ConversationName) -> anyhow::Result<Vec<Told>> {
    let mut member = member(server, user).await?;
    let mut stream = member.enter(room, Some(Start::After(quoth_protocol::Seq::ZERO))).await?;
    let (head, mut all) = (stream.head.0, Vec::new());
    let mut reached = 0;
    while reached < head {
        let Next::Frame(frame) = member.next(&mut stream).await? else { bail!("the stream has ended") };
        all.extend(told(frame));
        reached = match all.last() {
            Some(Event(seq) | Gap(_, seq)) => *seq,
            None => 0,
        };
    }
    member.close().await;
    Ok(all)
}

/// The same from history.
async fn history(
    server: &EmbeddedServer,
    user: &str,
    room: &ConversationName,
) -> anyhow::Result<(Vec<Told>, u64)> {
    let mut member = member(server, user).await?;
    let range = FetchRange::After(quoth_protocol::Seq::ZERO);
    let fetch = ClientFrame::Fetch(Fetch { conversation: room.clone(), range, limit: 1_000 });
    let mut stream = member.stream(&fetch, true).await?;
    let mut all = Vec::new();
    loop {
        match member.next(&mut stream).await? {
            Next::Frame(ServerFrame::PageEnd { floor, .. }) => {
                member.close().await;
                return Ok((all, floor.0));
            }
            Next::Frame(frame) => all.extend(told(frame)),
            other => bail!("no page: {other:?}"),
        }
    }
}

fn publish(api: &Api, room: &str, count: u64) -> anyhow::Result<()> {
    for n in 0..count {
        api.done(
            "POST",
            "/v1/publish",
            Some(&json!({ "conversation": room, "text": format!("message {n:>90}") })),
        )?;
    }
    Ok(())
}

/// What Prometheus is told of a metric; nothing of one that is not known.
fn metric(api: &Api, name: &str) -> anyhow::Result<Option<String>> {
    let answer = api.send("GET", "/metrics", None)?;
    ensure!(answer.status() == 200 && answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body)?;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(found.map(str::to_owned))
}

fn retain(api: &Api, room: &str, retention: Retention) -> anyhow::Result<Value> {
    api.done("PUT", &format!("/v1/conversations/{room}/retention"), Some(&json!(retention)))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_takes_is_gone_for_every_reader_at_once_and_no_policy_brings_it_back()
-> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let (api, room) = (server.api()?, name("room"));
    publish(&api, "room", 10)?;
    assert_eq!(replay(&server, "ada", &room).await?, (1..=10).map(Event).collect::<Vec<_>>());
    // The event that says so is the eleventh.
    retain(&api, "room", Retention { count: 4, ..Retention::FOR_EVER })?;
    let expected = [vec![Gap(1, 7)], (8..=11).map(Event).collect()].concat();
    assert_eq!(replay(&server, "ada", &room).await?, expected);
    assert_eq!(history(&server, "ada", &room).await?, (expected[1..].to_vec(), 8));
    let page = api.done("GET", "/v1/conversations/room/history?after=0", None)?;
    assert_eq!((&page["floor"], &page["events"][0]["seq"], &page["to"]), (&json!(8), &json!(8), &json!(11)));
    assert_eq!((&page["gaps"], &page["from"]), (&json!([{ "from": 1, "to": 7 }]), &json!(1)));
    let page = api.done("GET", "/v1/conversations/room/history?before=8", None)?;
    assert_eq!((&page["events"], &page["more_before"]), (&json!([]), &json!(false)));
    assert_eq!((&page["gaps"], &page["to"]), (&json!([{ "from": 1, "to": 7 }]), &json!(7)));
    retain(&api, "room", Retention::FOR_EVER)?;
    publish(&api, "room", 8)?;
    let expected = [vec![Gap(1, 7)], (8..=20).map(Event).collect()].concat();
    assert_eq!(replay(&server, "ada", &room).await?, expected, "those of before, and no others");
    // Over a restart as well, from the view alone.
    let server = server.restart_configured(|_| {})?;
    assert_eq!(replay(&server, "ada", &room).await?, expected);
    server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_when_its_time_is_over_also_for_who_reads_on() -> anyhow::Result<()> {
    const LIVES_MS: u64 = 5_000;
    let server = EmbeddedServer::start()?;
    let room = name("room");
    let mut writer = member(&server, "ada").await?;
    let mut stream = writer.enter(&room, None).await?;
    let began = Instant::now();
    for n in 1..=9 {
        let expires_in_ms = if n % 3 == 0 || n == 4 { LIVES_MS } else { 0 };
        let publish = Publish { expires_in_ms, ..Publish::new(n, format!("message {n}")) };
        writer.send(&mut stream, &ClientFrame::Publish(publish)).await?;
        while !matches!(writer.next(&mut stream).await?, Next::Frame(ServerFrame::Ack { .. })) {}
    }
    let all: Vec<_> = (1..=9).map(Event).collect();
    let seen = replay(&server, "bob", &room).await?;
    // A busy machine may look when their time is over.
    ensure!(seen == all || began.elapsed() >= Duration::from_millis(LIVES_MS), "they were there: {seen:?}");
    let expected = vec![Event(1), Event(2), Gap(3, 4), Event(5), Gap(6, 6), Event(7), Event(8), Gap(9, 9)];
    let until = Instant::now() + PATIENCE;
    while replay(&server, "bob", &room).await? != expected {
        ensure!(Instant::now() < until, "they do not go: {:?}", replay(&server, "bob", &room).await?);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(history(&server, "bob", &room).await?, (expected.clone(), 1));
    let page = server.api()?.done("GET", "/v1/conversations/room/history", None)?;
    let seqs: Vec<_> =
        page["events"].as_array().context("events")?.iter().map(|event| event["seq"].clone()).collect();
    assert_eq!(json!(seqs), json!([1, 2, 5, 7, 8]));
    // A repeat of one that is gone stores nothing.
    writer.send(&mut stream, &ClientFrame::Publish(Publish::new(3, "again"))).await?;
    let Next::Frame(ServerFrame::Ack { seq, duplicate, .. }) = writer.next(&mut stream).await? else {
        bail!("no ack")
    };
    assert_eq!((seq.0, duplicate), (3, true));
    writer.close().await;
    let server = server.restart_configured(|_| {})?;
    assert_eq!(replay(&server, "ada", &room).await?, expected);
    server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_manages_a_conversation_says_how_long_it_is_kept_and_a_hold_keeps_it() -> anyhow::Result<()>
{
    let server = EmbeddedServer::start()?;
    let mut owner = member(&server, "ada").await?;
    let create = Request::Create {
        conversation: Some(name("team")),
        kind: ConversationKind::Group,
        title: String::new(),
        members: vec![quoth_protocol::UserId::new("bob")?],
        open: false,
    };
    let (team, _) = owner.done(create).await?;
    let set = |count| Request::SetRetention {
        conversation: team.clone(),
        retention: Some(Retention { count, ..Retention::FOR_EVER }),
        dry_run: false,
    };
    let mut other = member(&server, "bob").await?;
    assert_eq!(other.refused(set(1)).await?, Code::FORBIDDEN);
    let api = server.api()?;
    api.done("PUT", "/v1/conversations/team/hold", None)?;
    let (_, seq) = owner.done(set(2)).await?;
    assert_eq!(owner.done(set(2)).await?.1.0, 0, "the same again changes nothing");
    publish(&api, "team", 5)?;
    let head = seq.0 + 5;
    // Whoever manages it may ask before, is told by its bounds alone what goes, and nothing of the hold.
    let ask = |retention: Option<Retention>, dry_run| Request::SetRetention {
        conversation: team.clone(),
        retention,
        dry_run,
    };
    assert_eq!(other.refused(ask(None, true)).await?, Code::FORBIDDEN);
    let one = Retention { count: 1, ..Retention::FOR_EVER };
    let Reply::Retained { seq: of_event, time_ms: 0, retention, events, bytes, .. } =
        owner.request(ask(Some(one), true)).await?
    else {
        bail!("no preview")
    };
    assert_eq!((of_event.0, retention, events), (0, one, head), "what says so stays alone");
    ensure!(bytes > 5 * 9, "{bytes}");
    assert_eq!(replay(&server, "bob", &team).await?, (1..=head).map(Event).collect::<Vec<_>>(), "held");
    let kept = api.done("GET", "/v1/conversations/team/retention", None)?;
    assert_eq!(
        (&kept["retention"]["count"], &kept["own"], &kept["floor"]),
        (&json!(2), &json!(true), &json!(1))
    );
    api.done("DELETE", "/v1/conversations/team/hold", None)?;
    let expected = vec![Gap(1, head - 2), Event(head - 1), Event(head)];
    assert_eq!(replay(&server, "bob", &team).await?, expected);
    // And gives it back to the operator's rules, which have no bounds here.
    for dry_run in [true, false] {
        let Reply::Retained { seq, retention, events, .. } = owner.request(ask(None, dry_run)).await? else {
            bail!("it is not given back")
        };
        let expected = if dry_run { 0 } else { head + 1 };
        assert_eq!((seq.0, retention, events), (expected, Retention::FOR_EVER, 0));
    }
    let kept = api.done("GET", "/v1/conversations/team/retention", None)?;
    assert_eq!((&kept["own"], &kept["floor"]), (&json!(false), &json!(head - 1)));
    let mut stream = other.enter(&team, Some(Start::Last(10))).await?;
    let Next::Frame(ServerFrame::Event(event)) = other.next(&mut stream).await? else { bail!("no event") };
    assert_eq!(event.seq.0, head - 1, "from the floor on");
    ensure!(matches!(event.kind, EventKind::Message { .. }));
    owner.close().await;
    other.close().await;
    server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_taken_back_for_that_of_the_class_and_what_is_not_there_has_none() -> anyhow::Result<()> {
    let class: RetentionClass = "rooms:room*:count=5".parse()?;
    let server = EmbeddedServer::start_configured(|config| config.retention.classes = vec![class.clone()])?;
    let (api, path) = (server.api()?, "/v1/conversations/room/retention");
    for (method, path) in [("GET", path), ("DELETE", path), ("DELETE", "/v1/conversations/rom/hold")] {
        let answer = api.send(method, path, None)?;
        ensure!(answer.status() == 404, "{method}: {}", answer.json());
        ensure!(answer.json()["detail"].as_str().is_some_and(|text| text.contains("nobody has made one")));
    }
    let of_none =
        api.done("POST", "/v1/conversations/rom/retention/preview", Some(&json!({ "count": 3 })))?;
    assert_eq!((&of_none["events"], &of_none["head"]), (&json!(0), &json!(0)));
    publish(&api, "room", 20)?;
    let room = name("room");
    let empty = api.send("PUT", path, Some(&json!({})))?;
    ensure!(
        empty.status() == 400 && empty.json()["detail"].to_string().contains("DELETE"),
        "{}",
        empty.json()
    );
    // A bound that is not given is none.
    let nine = json!({ "count": 9 });
    let three = json!({ "count": 3 });
    let preview = |bounds| api.done("POST", "/v1/conversations/room/retention/preview", Some(bounds));
    assert_eq!(preview(&three)?["floor_then"], json!(19), "it has three with what says so");
    assert_eq!((preview(&three)?["events"].clone(), preview(&nine)?["events"].clone()), (json!(3), json!(0)));
    api.done("PUT", path, Some(&nine))?;
    let kept = api.done("GET", path, None)?;
    assert_eq!(
        (&kept["retention"], &kept["own"]),
        (&json!({ "age_s": 0, "count": 9, "bytes": 0 }), &json!(true))
    );
    // Those that the class has taken before stay away, so there are its five, and what says so.
    assert_eq!(kept["floor"], json!(16));
    let undone = api.done("DELETE", path, None)?;
    assert_eq!(undone["seq"], json!(22));
    let kept = api.done("GET", path, None)?;
    assert_eq!(
        (&kept["retention"]["count"], &kept["own"], &kept["floor"]),
        (&json!(5), &json!(false), &json!(18))
    );
    assert_eq!(api.done("DELETE", path, None)?["seq"], json!(0), "it is so already");
    // Who reads is told what holds from then on.
    let page = api.done("GET", "/v1/conversations/room/history?limit=1", None)?;
    assert_eq!(
        page["events"][0]["kind"],
        json!({ "retention_set": { "retention": { "age_s": 0, "count": 5, "bytes": 0 } } })
    );
    publish(&api, "room", 1)?;
    let server = server.restart_configured(|config| config.retention.classes = vec![class])?;
    assert_eq!(server.api()?.done("GET", path, None)?["floor"], json!(19));
    assert_eq!(replay(&server, "ada", &room).await?.first(), Some(&Gap(1, 18)));
    server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_says_how_it_is_kept_and_by_whose_word_and_nothing_of_a_hold() -> anyhow::Result<()> {
    let class: RetentionClass = "teams:team*:age_s=86400&count=7".parse()?;
    let server = EmbeddedServer::start_configured(|config| config.retention.classes = vec![class.clone()])?;
    let api = server.api()?;
    let mut owner = member(&server, "ada").await?;
    owner
        .done(Request::Create {
            conversation: Some(name("team")),
            kind: ConversationKind::Group,
            title: String::new(),
            members: vec![],
            open: false,
        })
        .await?;
    let of_class = Retention { age_s: 86_400, count: 7, bytes: 0 };
    let own = Retention { bytes: 1 << 20, ..Retention::FOR_EVER };
    let path = "/v1/conversations/team";
    let mut says = async |retention: Retention, is_own: bool| {
        let info = match owner.request(Request::Describe { conversation: name("team") }).await? {
            Reply::Conversation(info) => info,
            other => bail!("no conversation: {other:?}"),
        };
        ensure!((info.retention, info.own_retention) == (retention, is_own), "{info:?}");
        let listed = owner.request(Request::Conversations { after: None, limit: 9 }).await?;
        ensure!(
            listed == Reply::Conversations { conversations: vec![info.clone()], more: false },
            "{listed:?}"
        );
        let told = tokio::task::block_in_place(|| api.done("GET", path, None))?;
        ensure!(
            (&told["retention"], &told["own_retention"]) == (&json!(retention), &json!(is_own)),
            "{told}"
        );
        Ok(info)
    };
    let before = says(of_class, false).await?;
    tokio::task::block_in_place(|| api.done("PUT", &format!("{path}/hold"), None))?;
    assert_eq!(says(of_class, false).await?, before, "a hold is the operator's own business");
    tokio::task::block_in_place(|| retain(&api, "team", own))?;
    let after = says(own, true).await?;
    assert_eq!(after.version, before.version);
    // What the class says is what it says, too, when it says so itself.
    tokio::task::block_in_place(|| retain(&api, "team", of_class))?;
    says(of_class, true).await?;
    owner.close().await;
    Ok(())
}

/// What `quoth-server retention` says of a data folder that no server has.
fn retention(command: &str, data_dir: &Path, config: &Path) -> anyhow::Result<String> {
    retention_of(&[command], data_dir, config)
}

fn retention_of(command: &[&str], data_dir: &Path, config: &Path) -> anyhow::Result<String> {
    let mut program = std::process::Command::new(quoth_tests::process::binary("quoth-server"));
    program.arg("retention").args(command).arg("--data-dir").arg(data_dir).arg("--config").arg(config);
    let output = program.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_look_at_classes_that_nobody_has_run_by_takes_nothing_away() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data_dir, config) = (dir.path().join("data"), dir.path().join("quoth.toml"));
    let classes = |count: u64| {
        let class = format!("name = \"rooms\"\nconversations = [\"room*\"]\ncount = {count}\n");
        std::fs::write(&config, format!("[server]\ndevelopment = true\n[[retention.classes]]\n{class}"))
    };
    let path = config.display().to_string();
    let start = || ServerProcess::start_with(&data_dir, "127.0.0.1:0", &["--config", &path]);
    let first = |server: &ServerProcess| {
        let page = Api::told(&server.client_file()?)?;
        page.done("GET", "/v1/conversations/room/history?after=0", None)
    };
    classes(100)?;
    let none = retention("status", &data_dir, &config).expect_err("there is no store");
    assert!(none.to_string().contains("is no data folder of Quoth") && !data_dir.exists(), "{none}");
    let server = start()?;
    let running = retention("status", &data_dir, &config).expect_err("a server has it");
    assert!(running.to_string().contains("quoth admin retention plan"), "{running}");
    publish(&Api::told(&server.client_file()?)?, "room", 10)?;
    server.terminate()?;
    classes(3)?;
    for command in ["plan", "status", "plan"] {
        let said = retention(command, &data_dir, &config)?;
        ensure!(
            command == "status" || said.contains("the classes are not those of the last start"),
            "{said}"
        );
    }
    classes(100)?;
    let said = retention("plan", &data_dir, &config)?;
    assert!(!said.contains("changed"), "{said}");
    let server = start()?;
    assert_eq!(first(&server)?["floor"], json!(1), "all is there");
    server.terminate()?;
    classes(3)?;
    retention("run", &data_dir, &config)?;
    classes(100)?;
    let server = start()?;
    assert_eq!(first(&server)?["floor"], json!(8), "who runs by a class has meant it");
    server.terminate()?;
    Ok(())
}
