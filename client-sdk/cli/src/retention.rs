//! `quoth retention`.

use quoth_client::{Permissions, Retained, Retention};
use serde::Serialize;

use crate::amount::events;
use crate::args::{RetentionArgs, Wanted};
use crate::asking::{asking_of, json, lines, tell_silence};
use crate::connection::Connection;
use crate::deed::{kept, kept_by};
use crate::hint::{Asked, Needs};
use crate::messages::name;
use crate::output::confirm;

pub(crate) async fn retention(connection: &Connection, args: RetentionArgs) -> anyhow::Result<()> {
    let RetentionArgs { conversation, bounds, json: is_json } = args;
    let wanted = bounds.wanted();
    let needs = if wanted.is_some() { Needs::Permission(Permissions::MANAGE) } else { Needs::Reading };
    let asked = Asked { conversation: conversation.as_str(), needs, otherwise: "" };
    asking_of(connection, &asked, async |client| {
        let room = client.conversation(conversation.as_str())?;
        let Some(wanted) = wanted else {
            let info = client.describe(room.name()).await?;
            if is_json {
                return json(&[JsonKept { retention: info.retention, own: info.own_retention }]);
            }
            lines([format!("{} is {}", name(&room), kept_by(&info))])?;
            tell_silence(client, &info).await;
            return Ok(());
        };
        let bounds_wanted = match wanted {
            Wanted::Bounds(retention) => Some(retention),
            Wanted::ByClass => None,
        };
        let retained = match bounds.dry_run {
            true => room.preview_retention(bounds_wanted).await,
            false => room.set_retention(bounds_wanted).await,
        }?;
        match (is_json, bounds.dry_run) {
            (true, _) => return json(&[JsonRetained::of(&retained, wanted)]),
            (false, true) => return lines([would_be(&name(&room), wanted, &retained)]),
            (false, false) => confirm(&is_set(&name(&room), wanted, &retained)),
        }
        Ok(())
    })
    .await
}

#[derive(Serialize)]
struct JsonKept {
    #[serde(flatten)]
    retention: Retention,
    own: bool,
}

#[derive(Serialize)]
struct JsonRetained {
    #[serde(flatten)]
    kept: JsonKept,
    gone_events: u64,
    gone_bytes: u64,
}

impl JsonRetained {
    fn of(retained: &Retained, wanted: Wanted) -> Self {
        let Retained { retention, events, bytes, .. } = *retained;
        let kept = JsonKept { retention, own: wanted != Wanted::ByClass };
        Self { kept, gone_events: events, gone_bytes: bytes }
    }
}

/// What was set, and what is gone by that.
fn is_set(room: &str, wanted: Wanted, retained: &Retained) -> String {
    let kept = how(wanted, retained.retention);
    match (retained.time_ms, retained.events) {
        (0, _) => format!("what is said in {room} is kept {kept}, as before"),
        (_, 0) => format!("what is said in {room} is kept {kept}: nothing that was there is gone by that"),
        (_, gone) => format!(
            "what is said in {room} is kept {kept}: {} for good by that, for everybody, but for what the operator holds",
            are_gone(gone, retained.bytes)
        ),
    }
}

/// What would be set, and what would be gone by that.
fn would_be(room: &str, wanted: Wanted, retained: &Retained) -> String {
    let kept = how(wanted, retained.retention);
    let gone = match retained.events {
        0 => "nothing that is there would be gone by that".to_owned(),
        gone => format!(
            "{} would be gone for good by that, for everybody, but for what the operator holds",
            events(gone, retained.bytes)
        ),
    };
    format!("what is said in {room} would be kept {kept}: {gone}; nothing was changed")
}

fn how(wanted: Wanted, retention: Retention) -> String {
    let by = if wanted == Wanted::ByClass { ", by the operator's rules" } else { "" };
    format!("{}{by}", kept(retention))
}

fn are_gone(gone: u64, bytes: u64) -> String {
    format!("{} {} gone", events(gone, bytes), if gone == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use quoth_client::{ConversationName, Seq};

    use super::*;

    #[test]
    fn what_goes_is_told_with_its_number() {
        let retention = Retention { age_s: 1, count: 5, bytes: 0 };
        let of = |seq: Option<u64>, events, bytes| Retained {
            conversation: ConversationName::new("team").unwrap(),
            seq: seq.map(Seq),
            time_ms: seq.unwrap_or_default(),
            retention,
            events,
            bytes,
        };
        let bounds = Wanted::Bounds(retention);
        let kept = "what is said in team is kept for 1 second, up to 5 events";
        for (told, expected) in [
            (is_set("team", bounds, &of(None, 0, 0)), format!("{kept}, as before")),
            (is_set("team", bounds, &of(Some(7), 0, 0)), format!("{kept}: nothing that was there is gone by that")),
            (
                is_set("team", bounds, &of(Some(7), 26, 258)),
                format!(
                    "{kept}: 26 events (258 B) are gone for good by that, for everybody, but for what the operator holds"
                ),
            ),
            (
                is_set("team", Wanted::ByClass, &of(Some(7), 1, 9)),
                format!(
                    "{kept}, by the operator's rules: 1 event (9 B) is gone for good by that, for everybody, but for what the operator holds"
                ),
            ),
            (
                would_be("team", bounds, &of(None, 26, 258)),
                "what is said in team would be kept for 1 second, up to 5 events: 26 events (258 B) would be gone for good by that, \
                 for everybody, but for what the operator holds; nothing was changed"
                    .to_owned(),
            ),
            (
                would_be("team", Wanted::ByClass, &of(None, 0, 0)),
                "what is said in team would be kept for 1 second, up to 5 events, by the operator's rules: nothing that is there \
                 would be gone by that; nothing was changed"
                    .to_owned(),
            ),
        ] {
            assert_eq!(told, expected);
        }
        let json = serde_json::to_string(&JsonRetained::of(&of(None, 26, 258), Wanted::ByClass)).unwrap();
        assert_eq!(json, r#"{"age_s":1,"count":5,"bytes":0,"own":false,"gone_events":26,"gone_bytes":258}"#);
    }
}
