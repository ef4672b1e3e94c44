//! Quoth's store: the log that orders and persists, and the view that readers read.
