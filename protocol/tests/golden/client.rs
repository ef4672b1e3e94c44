//! Frames of clients, but for requests.

use bytes::Bytes;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, Hello, Open, Publish, Start, feature};
use quoth_protocol::{ProducerId, Seq};

use super::{TIME_MS, device, name, user};

fn publish(n: u64, body: &[u8], publish_as: Option<&str>, origin_time_ms: Option<u64>) -> ClientFrame {
    let publish_as = publish_as.map(user);
    ClientFrame::Publish(Publish {
        publish_as,
        origin_time_ms,
        ..Publish::new(n, Bytes::copy_from_slice(body))
    })
}

fn open(from: Option<Start>) -> ClientFrame {
    ClientFrame::Open(Open {
        conversation: name("general"),
        producer: ProducerId(0x0123_4567_89ab_cdef),
        from,
    })
}

fn fetch(range: FetchRange, limit: u32) -> ClientFrame {
    ClientFrame::Fetch(Fetch { conversation: name("general"), range, limit })
}

fn reply() -> ClientFrame {
    ClientFrame::Publish(Publish {
        reply_to: Some(Seq(300)),
        mentions: vec![user("bob"), user("carol")],
        expires_in_ms: 60_000,
        ..Publish::new(9, "@bob yes")
    })
}

pub(crate) fn frames() -> Vec<(&'static str, ClientFrame)> {
    let hello = Hello {
        version: 1,
        features: feature::DATAGRAMS,
        token: "header.claims.signature".into(),
        device: device("laptop"),
        generation: 1_790_000_000_000,
        platform: "linux".into(),
        client: "quoth/0.1.0".into(),
    };
    vec![
        ("Hello", ClientFrame::Hello(hello)),
        ("Refresh", ClientFrame::Refresh { token: "t".into() }),
        ("Open write only", open(None)),
        ("Open after", open(Some(Start::After(Seq(300))))),
        ("Open last", open(Some(Start::Last(50)))),
        ("Open live", open(Some(Start::Live))),
        ("Read", ClientFrame::Read { from: Some(Start::After(Seq(0))) }),
        ("Read stop", ClientFrame::Read { from: None }),
        ("Publish", publish(1, b"hello", None, None)),
        ("Publish empty", publish(127, b"", None, None)),
        ("Publish as", publish(u64::MAX, "grüße".as_bytes(), Some("bob"), Some(1_103_966_040_000))),
        ("Publish 200 bytes", publish(128, &[0x61; 200], None, None)),
        ("Publish reply", reply()),
        ("Fetch after", fetch(FetchRange::After(Seq(128)), 100)),
        ("Fetch before", fetch(FetchRange::Before(Seq(1)), 1_000)),
        ("Fetch latest", fetch(FetchRange::Latest, 50)),
        ("Fetch around", fetch(FetchRange::Around(Seq(300)), 50)),
        ("Fetch after time", fetch(FetchRange::AfterTime(TIME_MS), 50)),
        ("Fetch before time", fetch(FetchRange::BeforeTime(TIME_MS), 50)),
        ("Fetch around time", fetch(FetchRange::AroundTime(TIME_MS), 50)),
        ("Typing", ClientFrame::Typing { conversation: name("general") }),
        ("Seen", ClientFrame::Seen { seq: Seq(300) }),
        ("Status", ClientFrame::Status { away: true }),
    ]
}
