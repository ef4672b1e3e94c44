//! `quoth whoami`: what a token says, and whether the server takes it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quoth_client::Client;

use crate::asking::lines;
use crate::claims::Claims;
use crate::clock;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::output::printable;

pub(crate) async fn run(connection: &Connection) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let target = connection.target(Purpose::Ask)?;
    lines(match Claims::of(&target.token) {
        Some(claims) => told(&claims, now),
        None => vec!["token      cannot be read here".to_owned()],
    })?;
    // Whoever is not signed in is told why, as by any other command.
    connection
        .run_at(target, Purpose::Ask, async |client: &Client, situation: &Situation<'_>| {
            let user = client.welcome().map(|welcome| printable(welcome.user.as_str())).unwrap_or_default();
            let device = situation.device.as_deref().map(|device| format!(" at {}", printable(device)));
            let device = device.unwrap_or_default();
            lines([format!("server     {} takes it: you are {user}{device}", situation.server)])
        })
        .await
}

/// A line for each of what a token says.
fn told(claims: &Claims, now: Duration) -> Vec<String> {
    let text = |text: &Option<String>, otherwise: &str| {
        text.as_deref().map_or_else(|| otherwise.to_owned(), printable)
    };
    let mut lines = vec![
        format!("user       {}", text(&claims.sub, "it does not say")),
        format!("device     {}", text(&claims.device, "any")),
    ];
    lines.extend(claims.iat.map(|iat| format!("issued     {}", moment(iat))));
    lines.push(match claims.exp {
        Some(exp) => format!("expires    {}{}", moment(exp), left(exp, now)),
        None => "expires    it does not say, so no server takes it".to_owned(),
    });
    lines.push(format!("reads      {}", patterns(claims.read.as_deref())));
    lines.push(format!("writes     {}", patterns(claims.write.as_deref())));
    if let Some(users) = claims.publish_as.as_deref().filter(|users| !users.is_empty()) {
        lines.push(format!("publishes  as {}", printable(&users.join(", "))));
    }
    lines
}

/// Which conversations a claim is for.
fn patterns(claim: Option<&[String]>) -> String {
    match claim {
        None => "what its user is a member of".to_owned(),
        Some([]) => "nothing".to_owned(),
        Some(patterns) => printable(&patterns.join(", ")),
    }
}

/// A time that no clock can show is none.
fn ms(seconds: f64) -> u64 {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn moment(seconds: f64) -> String {
    format!("{} {} UTC", clock::date(ms(seconds)), clock::time(ms(seconds)))
}

/// Whether it is over. For how long a server takes it all the same is the server's business.
fn left(exp: f64, now: Duration) -> &'static str {
    if ms(exp) <= u64::try_from(now.as_millis()).unwrap_or(u64::MAX) { ", which has passed" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::tests::claims;

    #[test]
    fn a_token_is_told_line_by_line() {
        let now = Duration::from_secs(1_103_947_440);
        let of = |text: &str| told(&claims(text).unwrap(), now);
        assert_eq!(
            of(
                r#"{"sub":"bob","iat":1103947200,"exp":1103947500,"device":"lap","read":["*"],"write":["team-*","x"],"publish_as":["guest-*"]}"#
            ),
            [
                "user       bob",
                "device     lap",
                "issued     2004-12-25 04:00 UTC",
                "expires    2004-12-25 04:05 UTC",
                "reads      *",
                "writes     team-*, x",
                "publishes  as guest-*",
            ]
        );
        assert_eq!(
            of(r#"{"sub":"b\u001b","exp":1103947439.5,"write":[]}"#),
            [
                "user       b\\u{1b}",
                "device     any",
                "expires    2004-12-25 04:03 UTC, which has passed",
                "reads      what its user is a member of",
                "writes     nothing",
            ]
        );
        assert!(of("{}").contains(&"expires    it does not say, so no server takes it".to_owned()));
    }
}
