//! What a conversation that was there already has not of what was asked for: who makes it again, since an answer was
//! lost, gets the same one, and nothing of it is changed. Pure.

use quoth_client::UserId;

use crate::hint::quoted;
use crate::output::printable;

/// What was asked for besides a name and a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Nothing was said of an empty one.
    pub(crate) title: String,
    pub(crate) open: bool,
    pub(crate) members: Vec<UserId>,
    /// In whose name an operator makes it.
    pub(crate) owner: Option<UserId>,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) title: String,
    pub(crate) open: bool,
    pub(crate) members: Vec<UserId>,
    pub(crate) owners: Vec<UserId>,
}

/// Who has asked, whose commands a hint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    User,
    /// Who says as what somebody is added.
    Operator {
        role: &'static str,
    },
}

/// What is not as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lacking<'a> {
    title: Option<&'a str>,
    open: bool,
    owner: Option<&'a UserId>,
    members: Vec<&'a UserId>,
}

impl Wanted {
    /// What is not so; `None` when all of it is.
    pub(crate) fn lacking(&self, found: &Found) -> Option<Lacking<'_>> {
        let lacking = Lacking {
            title: Some(&*self.title).filter(|title| !title.is_empty() && *title != found.title),
            open: self.open && !found.open,
            owner: self.owner.as_ref().filter(|owner| !found.owners.contains(owner)),
            members: self.members.iter().filter(|user| !found.members.contains(user)).collect(),
        };
        let is_nothing =
            lacking.title.is_none() && !lacking.open && lacking.owner.is_none() && lacking.members.is_empty();
        (!is_nothing).then_some(lacking)
    }
}

impl Lacking<'_> {
    /// Says so of the conversation of this name.
    pub(crate) fn told(&self, name: &str) -> String {
        let user = |user: &&UserId| printable(user.as_str());
        let mut parts = Vec::new();
        parts.extend(self.title.map(|_| "it is called otherwise".to_owned()));
        parts.extend(self.open.then(|| "not everybody may join it".to_owned()));
        parts.extend(self.owner.iter().map(|owner| format!("{} does not own it", user(owner))));
        if !self.members.is_empty() {
            let names: Vec<_> = self.members.iter().map(user).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            parts.push(format!("{} {verb} not in it", names.join(", ")));
        }
        format!("{} was there already, and nothing of it was changed: {}", printable(name), parts.join("; "))
    }

    /// How it comes to be so.
    pub(crate) fn hint(&self, name: &str, by: By) -> String {
        let (name, who) = (quoted(name), |user: &UserId| quoted(user.as_str()));
        let (renames, adds, role) = match by {
            By::User => ("quoth conversation rename", "quoth conversation add", String::new()),
            By::Operator { role } => {
                ("quoth admin conversation rename", "quoth admin member set", format!(" --role {role}"))
            }
        };
        let mut ways = Vec::new();
        ways.extend(self.title.map(|title| format!("`{renames} {name} {}`", quoted(title))));
        ways.extend(self.owner.map(|owner| format!("`{adds} {name} {} --role owner`", who(owner))));
        ways.extend(self.members.iter().map(|user| format!("`{adds} {name} {}{role}`", who(user))));
        if self.open {
            ways.push("another name, since what is there stays as closed as it was made".to_owned());
        }
        format!("it takes {}", ways.join(", and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> Vec<UserId> {
        names.iter().map(|name| UserId::new(*name).unwrap()).collect()
    }

    #[test]
    fn what_is_as_it_was_asked_for_lacks_nothing() {
        let found = Found {
            title: "Team".to_owned(),
            open: true,
            members: users(&["alice", "bob"]),
            owners: users(&["alice"]),
        };
        assert_eq!(Wanted::default().lacking(&found), None);
        let all = Wanted {
            title: found.title.clone(),
            open: true,
            members: users(&["bob"]),
            owner: Some(UserId::new("alice").unwrap()),
        };
        assert_eq!(all.lacking(&found), None);
    }

    #[test]
    fn what_was_asked_for_and_is_not_so_is_told_with_what_makes_it_so() {
        let bare = Found { members: users(&["alice", "bob"]), owners: users(&["alice"]), ..Found::default() };
        for (wanted, told, user, operator) in [
            (
                Wanted { title: "It's".to_owned(), ..Wanted::default() },
                "it is called otherwise",
                "`quoth conversation rename 'team' 'It'\\''s'`",
                "`quoth admin conversation rename 'team' 'It'\\''s'`",
            ),
            (
                Wanted { open: true, ..Wanted::default() },
                "not everybody may join it",
                "another name",
                "another name",
            ),
            (
                Wanted { members: users(&["bob", "eve"]), ..Wanted::default() },
                "eve is not in it",
                "`quoth conversation add 'team' 'eve'`",
                "`quoth admin member set 'team' 'eve' --role member`",
            ),
            (
                Wanted { members: users(&["eve", "dan"]), ..Wanted::default() },
                "eve, dan are not in it",
                "'eve'`, and `quoth conversation add 'team' 'dan'`",
                "--role member`, and `quoth admin member set 'team' 'dan'",
            ),
            (
                Wanted { owner: Some(UserId::new("bob").unwrap()), ..Wanted::default() },
                "bob does not own it",
                "'bob' --role owner`",
                "`quoth admin member set 'team' 'bob' --role owner`",
            ),
        ] {
            let lacking = wanted.lacking(&bare).unwrap();
            let all = format!("team was there already, and nothing of it was changed: {told}");
            assert_eq!(lacking.told("team"), all);
            for (by, way) in [(By::User, user), (By::Operator { role: "member" }, operator)] {
                let hint = lacking.hint("team", by);
                assert!(hint.contains(way), "{hint}");
            }
        }
    }
}
