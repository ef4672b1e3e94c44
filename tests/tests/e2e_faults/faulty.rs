//! A server whose parts fail on demand.

use quoth_protocol::{Code, ConversationName};
use quoth_server::engine::{Clock as _, SystemClock};
use quoth_server::session::{Verification, Verify};
use quoth_store::testing::{Overridden, ViewOverride};
use quoth_store::{Bounds, MemoryView, Store, View, ViewError};
use quoth_tests::served::{ServedEngine, everything};

/// A conversation whose bounds cannot be read without a panic.
pub(crate) const FAULTY_CONVERSATION: &str = "faulty";

/// A token whose verification panics. Every other token is so many milliseconds, counted from its
/// verification.
pub(crate) const FAULTY_TOKEN: &str = "faulty";

/// Starts it on the current runtime.
pub(crate) fn start() -> anyhow::Result<ServedEngine> {
    let mut store = Store::memory();
    store.view = std::sync::Arc::new(Overridden(FaultyView(MemoryView::new())));
    ServedEngine::start(store, Lifetimes)
}

struct Lifetimes;

impl Verify for Lifetimes {
    fn verify(&self, token: &str, _now_ms: u64) -> Verification {
        assert_ne!(token, FAULTY_TOKEN, "the fault that is wanted");
        let lifetime_ms = token.parse::<u64>().map_err(|_| Code::TOKEN_REJECTED);
        lifetime_ms.and_then(|lifetime_ms| everything("alice", SystemClock.unix_ms() + lifetime_ms)).into()
    }
}

struct FaultyView(MemoryView);

impl ViewOverride for FaultyView {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn bounds(&self, conversation: &ConversationName) -> Result<Bounds, ViewError> {
        assert_ne!(conversation.as_str(), FAULTY_CONVERSATION, "the fault that is wanted");
        self.0.bounds(conversation)
    }
}
