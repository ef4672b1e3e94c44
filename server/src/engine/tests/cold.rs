//! What is read of the view for somebody who may not know of a conversation, which nobody has asked about
//! since the start.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_core::authorize::Grant;
use quoth_core::inbox::CHANGE_DUE;
use quoth_core::membership::Change;
use quoth_protocol::frame::Durability;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use quoth_store::testing::{Overridden, ViewOverride};
use quoth_store::{MemoryView, Store, View, ViewError};

use super::world::stop;
use crate::engine::{Caller, Engine, Execution, SystemClock};

/// What was read: of which conversation and what.
type Reads = Arc<Mutex<Vec<(ConversationName, Vec<u8>)>>>;

/// A view that notes what is read of registers.
struct NotingView(MemoryView, Reads);

impl ViewOverride for NotingView {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn register(&self, name: &ConversationName, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.1.lock().push((name.clone(), key.to_vec()));
        self.0.register(name, key)
    }

    fn registers(
        &self,
        name: &ConversationName,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ViewError> {
        self.1.lock().push((name.clone(), prefix.to_vec()));
        self.0.registers(name, prefix, after, limit)
    }
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn caller(id: &str) -> Caller {
    Caller::User(Arc::new(Grant::of_membership(user(id))))
}

#[tokio::test]
async fn whether_two_users_talk_costs_nobody_else_a_read_more() {
    let reads = Reads::default();
    let mut store = Store::memory();
    store.view = Arc::new(Overridden(NotingView(MemoryView::new(), Arc::clone(&reads))));
    let (log, view) = (Arc::clone(&store.log), Arc::clone(&store.view));
    let start = |store| Engine::start(store, Durability::Memory, Arc::new(SystemClock), Execution::Threads);
    let (engine, stopper) = start(store);
    let [talk, do_not] = ["bob", "carol"].map(|other| ConversationName::direct(&user("alice"), &user(other)));
    let create = Change::Create {
        kind: ConversationKind::Direct,
        title: String::new(),
        members: vec![user("bob")],
        open: false,
    };
    engine.change(caller("alice"), &talk, create).await.unwrap();
    stop(engine, stopper).await.unwrap();

    let ways = ["access", "alter", "hide"];
    for way in ways {
        let mut store = Store::memory();
        (store.log, store.view) = (Arc::clone(&log), Arc::clone(&view));
        let (engine, stopper) = start(store);
        // Behind the start's own reads.
        engine.access(&ConversationName::group([7; 16]), &user("eve")).await.unwrap();
        let mut costs = Vec::new();
        for name in [&talk, &do_not] {
            reads.lock().clear();
            match way {
                "access" => drop(engine.access(name, &user("eve")).await.unwrap()),
                "hide" => {
                    let refused = engine.hide(caller("eve"), name, Seq(1)).await.unwrap_err();
                    assert_eq!(refused.code, Code::FORBIDDEN);
                }
                _ => {
                    let revoke = quoth_core::messages::Alteration::Revoke;
                    let refused = engine.alter(caller("eve"), name, Seq(1), revoke).await.unwrap_err();
                    assert_eq!(refused.code, Code::FORBIDDEN);
                }
            }
            let of_name = |(of, key): (ConversationName, Vec<u8>)| (of == *name, key);
            // The lists' keeper looks at its start, whatever is asked.
            let is_asked = |(_, key): &(bool, Vec<u8>)| key[..] != [CHANGE_DUE];
            costs.push(reads.lock().drain(..).map(of_name).filter(is_asked).collect::<Vec<_>>());
        }
        assert!(costs[0] == costs[1] && !costs[0].is_empty(), "{way}: {costs:?}");
        stop(engine, stopper).await.unwrap();
    }
}
