//! The Quoth server: configuration, listeners, connections and the engine around the core.
