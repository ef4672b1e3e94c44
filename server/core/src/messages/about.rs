//! What an event is about that says what becomes of a message.

use quoth_protocol::Seq;

/// Numbers of the kinds `Edited` and `Reacted`. A `Revoked` outlives its message: somebody may still have
/// that.
const ENDS_WITH_ITS_MESSAGE: [u32; 2] = [13, 15];

/// The message with which an event ends, by the encoding of its kind: an edit or a reaction is absent when
/// its message is. The rest of it, which may be large, is not decoded.
#[must_use]
pub fn ends_with(kind: &[u8]) -> Option<Seq> {
    let (number, rest) = postcard::take_from_bytes::<u32>(kind).ok()?;
    if !ENDS_WITH_ITS_MESSAGE.contains(&number) {
        return None;
    }
    postcard::take_from_bytes::<Seq>(rest).ok().map(|(seq, _)| seq)
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;
    use quoth_protocol::codec::encode_datagram;
    use quoth_protocol::frame::EventKind;

    use super::ends_with;

    #[test]
    fn edits_and_reactions_end_with_their_message_and_nothing_else_does() {
        let seq = Seq(70_000);
        let of = |kind: EventKind| ends_with(&encode_datagram(&kind));
        assert_eq!(of(EventKind::Edited { seq, body: "text".into(), mentions: Vec::new() }), Some(seq));
        assert_eq!(of(EventKind::Reacted { seq, reaction: "+1".to_owned(), on: false }), Some(seq));
        assert_eq!(of(EventKind::Revoked { seq }), None);
        assert_eq!(of(EventKind::message("text")), None);
        assert_eq!(ends_with(&[]), None);
    }
}
