//! Lists of conversations.

use anyhow::bail;
use quoth_protocol::ConversationName;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_tests::member::Member;

use super::world::{create, with_each_carrier};

/// All pages of one conversation each, and how many there were.
async fn pages(member: &mut Member) -> anyhow::Result<(Vec<String>, usize)> {
    let mut names: Vec<ConversationName> = Vec::new();
    for asked in 1..=10 {
        let request = Request::Conversations { after: names.last().cloned(), limit: 1 };
        let Reply::Conversations { conversations, more } = member.request(request).await? else {
            bail!("no list")
        };
        names.extend(conversations.into_iter().map(|info| info.conversation));
        if !more {
            return Ok((names.iter().map(ToString::to_string).collect(), asked));
        }
    }
    bail!("there is no end")
}

#[test]
fn a_list_goes_on_behind_what_the_token_is_not_for() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        for name in ["a-1", "b-1", "a-2", "a-3", "b-2", "a-4"] {
            alice.done(create(Some(name), ConversationKind::Group, &[])).await?;
        }
        let (all, _) = pages(&mut alice).await?;
        assert_eq!(all, ["a-1", "a-2", "a-3", "a-4", "b-1", "b-2"]);
        let mut narrowed = site.member_with(carrier, "alice", &["b-*"]).await?;
        // The first page is of what is behind four that are left out.
        let (names, asked) = pages(&mut narrowed).await?;
        assert_eq!((names, asked), (vec!["b-1".to_owned(), "b-2".to_owned()], 2));
        for member in [alice, narrowed] {
            member.close().await;
        }
        Ok(())
    })
}
