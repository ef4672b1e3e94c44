//! Registers, as whoever makes a record knows them: rows that are encoded in postcard.

use serde::{Deserialize, Serialize};

/// A register and what it holds from now on; `None` removes it.
pub type RegisterChange = (Vec<u8>, Option<Vec<u8>>);

/// Registers that nobody has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the registers are no state: {0}")]
pub struct Damaged(pub &'static str);

pub(crate) fn key(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(kind);
    key.extend(name);
    key
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    postcard::to_stdvec(row).expect("memory takes every row")
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<T, Damaged> {
    match postcard::take_from_bytes(row) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(Damaged("a row does not decode")),
    }
}
