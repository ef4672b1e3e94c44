//! What is said of a conversation before anything is said in it, and what is told before anything is changed.

use super::*;

fn hold(api: &Api, room: &str) -> anyhow::Result<Value> {
    api.done("PUT", &format!("/v1/conversations/{room}/hold"), None)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_before_anything_is_said_holds_from_the_first_message_on() -> anyhow::Result<()> {
    let class: RetentionClass = "held:held*:count=1".parse()?;
    let server = EmbeddedServer::start_configured(|config| config.retention.classes = vec![class.clone()])?;
    let api = server.api()?;
    let two = Retention { count: 2, ..Retention::FOR_EVER };
    for room in ["room", "team"] {
        let set = retain(&api, room, two)?;
        ensure!((&set["seq"], &set["head"]) == (&json!(0), &json!(0)), "no event says so: {set}");
        ensure!(set["time_ms"].as_u64() > Some(0), "and it is new: {set}");
        assert_eq!(retain(&api, room, two)?["time_ms"], json!(0), "the same again changes nothing");
        let kept = api.done("GET", &format!("/v1/conversations/{room}/retention"), None)?;
        assert_eq!(
            (&kept["own"], &kept["retention"]["count"], &kept["head"]),
            (&json!(true), &json!(2), &json!(0))
        );
    }
    ensure!(hold(&api, "held")?["time_ms"].as_u64() > Some(0));
    let server = server.restart_configured(|config| config.retention.classes = vec![class])?;
    let api = server.api()?;
    publish(&api, "held", 3)?;
    publish(&api, "room", 5)?;
    assert_eq!(replay(&server, "ada", &name("held")).await?, [1, 2, 3].map(Event), "held");
    assert_eq!(replay(&server, "ada", &name("room")).await?, [Gap(1, 3), Event(4), Event(5)]);
    let released = api.done("DELETE", "/v1/conversations/held/hold", None)?;
    assert_eq!(released["head"], json!(3));
    assert_eq!(replay(&server, "ada", &name("held")).await?, [Gap(1, 2), Event(3)]);
    // Nobody is kept from creating a conversation of the name, and its members are told.
    let mut owner = member(&server, "ada").await?;
    let create = Request::Create {
        conversation: Some(name("team")),
        kind: ConversationKind::Group,
        title: String::new(),
        members: vec![],
        open: false,
    };
    owner.done(create).await?;
    let Reply::Conversation(info) = owner.request(Request::Describe { conversation: name("team") }).await?
    else {
        bail!("it is not described")
    };
    assert_eq!((info.retention, info.own_retention), (two, true));
    publish(&api, "team", 5)?;
    let kept = api.done("GET", "/v1/conversations/team/retention", None)?;
    assert_eq!((&kept["head"], &kept["floor"]), (&json!(7), &json!(6)));
    // Behind the first event it is an event that says so.
    assert_eq!(retain(&api, "team", Retention { count: 3, ..two })?["seq"], json!(8));
    owner.close().await;
    server.stop()
}

/// A slip in a name leaves nothing, and it is found until then.
#[test]
fn what_is_set_for_a_name_with_a_slip_in_it_is_found_and_taken_back() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let api = server.api()?;
    let of = |what: &str| format!("/v1/conversations/taem/{what}");
    let rows = || -> anyhow::Result<Vec<Value>> {
        let list = api.done("GET", "/v1/conversations", None)?;
        Ok(list["conversations"].as_array().context("rows")?.clone())
    };
    let status = |method, what: &str| Ok::<_, anyhow::Error>(api.send(method, &of(what), None)?.status());
    assert_eq!(rows()?, Vec::<Value>::new());
    // Twice: what was set once and taken back is as what was never set.
    for _ in 0..2 {
        hold(&api, "taem")?;
        retain(&api, "taem", Retention { age_s: 60, ..Retention::FOR_EVER })?;
        let all = rows()?;
        ensure!(all.len() == 1 && all[0]["conversation"] == "taem" && all[0]["head"] == 0, "{all:?}");
        ensure!(api.done("DELETE", &of("hold"), None)?["time_ms"].as_u64() > Some(0));
        assert_eq!(rows()?.len(), 1, "its retention is set still");
        ensure!(api.done("DELETE", &of("retention"), None)?["time_ms"].as_u64() > Some(0));
        assert_eq!(rows()?, Vec::<Value>::new());
        let told = [("GET", "retention"), ("DELETE", "retention"), ("DELETE", "hold")];
        for (method, what) in told {
            assert_eq!(status(method, what)?, 404, "{method} {what}");
        }
        // What would come of it is told alike.
        assert_eq!(status("POST", "hold/preview")?, 404);
        let by_class = json!({ "by_class": true });
        assert_eq!(api.send("POST", &of("retention/preview"), Some(&by_class))?.status(), 404);
    }
    let server = server.restart_configured(|_| {})?;
    let api = server.api()?;
    assert_eq!(api.send("GET", &of("retention"), None)?.status(), 404);
    // Names that no conversation will ever have.
    for name in ["direct%2Falice", "group%2Fteam", "channel%2FAAAAAAAAAAAAAAAAAAAAAA", "notes%2F"] {
        for (method, what) in [("PUT", "hold"), ("POST", "hold/preview")] {
            let refused = api.send(method, &format!("/v1/conversations/{name}/{what}"), None)?;
            let detail = refused.json()["detail"].to_string();
            ensure!(refused.status() == 400 && detail.contains("none will be"), "{name} {what}: {detail}");
        }
    }
    // Bounds and the class's bounds are not thought of at once.
    let both = json!({ "by_class": true, "count": 1 });
    assert_eq!(api.send("POST", "/v1/conversations/room/retention/preview", Some(&both))?.status(), 400);
    hold(&api, "notes%2Falice")?;
    // Nor is anything held by a pattern, which whoever asks for it may believe.
    let refused = api.send("PUT", "/v1/conversations/team-*/hold", None)?;
    ensure!(
        refused.status() == 400 && refused.json()["detail"].to_string().contains("pattern"),
        "{}",
        refused.json()
    );
    server.stop()
}

/// Of each conversation of a plan its name and how many events.
fn named(told: &Value) -> anyhow::Result<Vec<(String, u64)>> {
    let all = told["conversations"].as_array().context("conversations")?;
    let one = |of: &Value| Some((of["conversation"].as_str()?.to_owned(), of["events"].as_u64()?));
    all.iter().map(|of| one(of).with_context(|| of.to_string())).collect()
}

/// What classes would take. A machine that was busy with the one before has whoever asks come again.
fn tried(api: &Api, classes: &Value) -> anyhow::Result<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = api.send("POST", "/v1/retention/preview", Some(classes))?;
        if answer.status() == 200 {
            return Ok(answer.json());
        }
        ensure!(answer.status() == 503 && Instant::now() < until, "{}: {}", answer.start, answer.json());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What classes would take of a running server is told, and nothing is taken.
fn assert_tried(api: &Api) -> anyhow::Result<()> {
    // With one message each, 25 rooms lose two, and one 19 of the 20 that it has.
    let rooms = json!({ "classes": ["rooms:room*:count=1"] });
    let loss = tried(api, &rooms)?;
    assert_eq!((&loss["affected"], &loss["events"]), (&json!(25), &json!(24 * 2 + 19)), "{loss}");
    ensure!(loss["bytes"].as_u64() >= Some((24 * 2 + 19) * 98), "{loss}");
    let first = [("room-07".to_owned(), 19), ("room-00".to_owned(), 2)];
    assert_eq!((named(&loss)?.len(), &named(&loss)?[..2]), (25, &first[..]));
    assert_eq!((&loss["held"], &loss["damaged_conversations"]), (&json!(0), &json!(0)), "{loss}");
    hold(api, "room-07")?;
    let loss = tried(api, &rooms)?;
    assert_eq!((&loss["held"], &loss["affected"]), (&json!(1), &json!(24)), "{loss}");
    api.done("DELETE", "/v1/conversations/room-07/hold", None)?;
    // What has a retention of its own loses nothing by any class.
    retain(api, "other", Retention::FOR_EVER)?;
    let classes_with_own = json!({ "classes": ["rooms:room*:count=1", "rest:other:count=1"] });
    let loss = tried(api, &classes_with_own)?;
    assert_eq!((&loss["own"], &loss["affected"]), (&json!(1), &json!(25)), "{loss}");
    assert_eq!(
        loss["classes"][1],
        json!({ "class": "rest:other:count=1", "conversations": 1, "own": 1 }),
        "{loss}"
    );
    let none = tried(api, &json!({ "classes": [] }))?;
    assert_eq!(
        (&none["affected"], &none["events"]),
        (&json!(0), &json!(0)),
        "what is kept longer loses nothing"
    );
    let odd =
        api.send("POST", "/v1/retention/preview", Some(&json!({ "classes": ["rooms:room*:days=1"] })))?;
    ensure!(odd.status() == 400 && odd.json()["detail"].to_string().contains("age_s"), "{}", odd.json());
    let two = json!({ "classes": ["rooms:room*,old*:count=1"] });
    let two = api.send("POST", "/v1/retention/preview", Some(&two))?;
    ensure!(two.status() == 400 && two.json()["detail"].to_string().contains("comma"), "{}", two.json());
    Ok(())
}

/// The same of a store that no server has: some for people, all as JSON.
fn assert_planned_without_a_server(data_dir: &Path, config: &Path) -> anyhow::Result<()> {
    let said = retention("plan", data_dir, config)?;
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("conversation ")).collect();
    let first = lines.first().context("a conversation")?;
    ensure!(lines.len() == 20 && first.starts_with("conversation room-07  3 events ("), "{said}");
    ensure!(
        first.contains(" absent already, 19 events (") && first.contains("absent from the next start on"),
        "{said}"
    );
    ensure!(
        said.contains(
            "changed  the classes are not those of the last start: the next start takes 67 events ("
        ),
        "{said}"
    );
    ensure!(said.contains("of 25 conversations more by them, for good"), "{said}");
    ensure!(said.contains("class  old:old*:age_s=86400  1 conversation\n"), "{said}");
    ensure!(said.contains("--json has all"), "{said}");
    let json: Value = serde_json::from_str(&retention_of(&["plan", "--json"], data_dir, config)?)?;
    assert_eq!((&json["loss"]["events"], &json["held"]), (&json!(67), &json!(1)));
    assert_eq!(json["holds"][0]["conversation"], json!("other"));
    ensure!(said.ends_with("held  1 conversation, where nothing goes until that ends: other\n"), "{said}");
    let all = named(&json)?;
    assert_eq!((all.len(), &all[0], &all[25]), (26, &("room-07".to_owned(), 22), &("old".to_owned(), 0)));
    Ok(())
}

#[test]
fn a_plan_names_who_loses_most_and_classes_are_tried_before_they_hold() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (data_dir, config) = (dir.path().join("data"), dir.path().join("quoth.toml"));
    let classes = |count: u64| {
        let class = format!("name = \"rooms\"\nconversations = [\"room*\"]\ncount = {count}\n");
        let old = "name = \"old\"\nconversations = [\"old*\"]\nage_s = 86400\n";
        let classes = format!("[[retention.classes]]\n{class}[[retention.classes]]\n{old}");
        std::fs::write(&config, format!("[server]\ndevelopment = true\n{classes}"))
    };
    let path = config.display().to_string();
    classes(20)?;
    let server = ServerProcess::start_with(&data_dir, "127.0.0.1:0", &["--config", &path])?;
    let api = Api::told(&server.client_file()?)?;
    for n in 0..25 {
        publish(&api, &format!("room-{n:02}"), 3)?;
    }
    publish(&api, "room-07", 20)?;
    publish(&api, "old", 1)?;
    publish(&api, "other", 30)?;
    // A look of a moment ago may be told again.
    let until = Instant::now() + PATIENCE;
    let mut plan = api.done("GET", "/v1/retention", None)?;
    while named(&plan)? != [("room-07".to_owned(), 3), ("old".to_owned(), 0)] {
        ensure!(Instant::now() < until, "one loses something, one will: {plan}");
        std::thread::sleep(Duration::from_millis(50));
        plan = api.done("GET", "/v1/retention", None)?;
    }
    let now_ms = plan["looked_ms"].as_u64().context("a time")?;
    let (of_room, of_old) = (&plan["conversations"][0], &plan["conversations"][1]);
    ensure!(of_room["bytes"].as_u64() >= Some(3 * 98) && of_room["next_ms"].is_null(), "{of_room}");
    let next_ms = of_old["next_ms"].as_u64().context("when it goes")?;
    ensure!(next_ms <= now_ms + 86_400_000 && next_ms > now_ms, "{next_ms} behind {now_ms}");

    assert_tried(&api)?;
    assert_eq!(
        api.done("GET", "/v1/retention", None)?["expired_bytes"],
        plan["expired_bytes"],
        "nothing is changed"
    );
    hold(&api, "other")?;
    server.terminate()?;

    classes(1)?;
    assert_planned_without_a_server(&data_dir, &config)
}
