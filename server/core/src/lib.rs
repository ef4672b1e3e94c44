//! Quoth's rules as pure state machines. No IO, no clock, no entropy.
