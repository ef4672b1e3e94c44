//! How a message's body is written: as bytes in postcard; in a format for people as text where it is UTF-8,
//! and otherwise as `{"base64": "…"}`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Readable<'a> {
    Text(Cow<'a, str>),
    Binary(Binary),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary {
    base64: String,
}

pub(crate) fn serialize<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return body.serialize(serializer);
    }
    let readable = match std::str::from_utf8(body) {
        Ok(text) => Readable::Text(Cow::Borrowed(text)),
        Err(_) => Readable::Binary(Binary { base64: STANDARD.encode(body) }),
    };
    readable.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    if !deserializer.is_human_readable() {
        return Bytes::deserialize(deserializer);
    }
    match Readable::deserialize(deserializer)? {
        Readable::Text(text) => Ok(Bytes::from(text.into_owned())),
        Readable::Binary(Binary { base64 }) => {
            STANDARD.decode(base64).map(Bytes::from).map_err(D::Error::custom)
        }
    }
}
