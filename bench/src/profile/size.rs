//! How many there are of whom: what people vary most of a load.

use super::{Profile, Shape};

/// Other numbers of connections, conversations and readers. What is not given stays, as far as it can.
#[derive(Debug, Clone, Copy, Default)]
pub struct Size {
    /// Connections of all clients.
    pub connections: Option<u32>,
    /// Conversations.
    pub conversations: Option<u32>,
    /// Readers of each conversation. Where all members publish, all still do.
    pub readers: Option<u32>,
}

impl Profile {
    /// Gives the load another size. Where each member had a connection of its own and no number of
    /// connections is given, each still has one. Variants keep what they give themselves.
    pub fn resize(&mut self, size: Size) {
        let has_roles = self.takes("members");
        let shape = &mut self.shape;
        let were_alone = has_roles && Some(shape.connections) == shape.seats();
        shape.conversations = size.conversations.unwrap_or(shape.conversations);
        if let Some(readers) = size.readers {
            let all_publish = shape.publishers == shape.members;
            let beside = if shape.publishers_read { 0 } else { shape.publishers };
            shape.members = readers.saturating_add(beside);
            if all_publish && shape.publishers_read {
                shape.publishers = shape.members;
            }
        }
        if let Some(connections) = size.connections {
            shape.connections = connections;
        } else if were_alone {
            // Too many of them are refused as any other number is.
            shape.connections = shape.seats().unwrap_or(0);
        }
        self.fill_members();
    }

    /// Loads whose clients all do the same have as many members as there are connections for them.
    pub(super) fn fill_members(&mut self) {
        if !self.takes("members") && self.shape.conversations > 0 {
            self.shape.members = self.shape.connections.div_ceil(self.shape.conversations);
        }
    }
}

impl Shape {
    /// Members of all conversations.
    fn seats(&self) -> Option<u32> {
        self.conversations.checked_mul(self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(name: &str, size: Size) -> (u32, u32, u32, u32) {
        let mut profile = Profile::find(name).expect(name);
        profile.resize(size);
        profile.check().unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let Shape { conversations, members, publishers, connections, .. } = profile.shape;
        (conversations, members, publishers, connections)
    }

    #[test]
    fn who_had_a_connection_alone_still_has_one() {
        let readers = |readers| Size { readers: Some(readers), ..Size::default() };
        let conversations = |conversations| Size { conversations: Some(conversations), ..Size::default() };
        assert_eq!(resized("fanout", readers(5_000)), (1, 5_001, 1, 5_001));
        assert_eq!(resized("fanout", conversations(3)), (3, 1_001, 1, 3_003));
        assert_eq!(resized("fanout", Size { connections: Some(2_000), ..readers(10) }), (1, 11, 1, 2_000));
        assert_eq!(resized("catchup", conversations(2)), (2, 11, 1, 22));
        // Two phones that read twenty conversations stay two.
        assert_eq!(resized("lossy", conversations(5)), (5, 2, 1, 2));
    }

    #[test]
    fn where_everybody_writes_everybody_still_does() {
        let size = Size { readers: Some(20), ..Size::default() };
        assert_eq!(resized("chat", size), (100, 20, 20, 200));
        assert_eq!(resized("spread", size), (64, 21, 1, 50));
    }

    #[test]
    fn who_all_do_the_same_are_spread_over_the_conversations() {
        let size = Size { connections: Some(100), conversations: Some(10), readers: None };
        assert_eq!(resized("idle", size), (10, 10, 1, 100));
        assert_eq!(resized("storm", Size { connections: Some(50), ..Size::default() }), (500, 1, 1, 50));
    }
}
