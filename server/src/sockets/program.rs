//! The rule of [`Steering`](crate::quic::Steering) as the kernel follows it.

/// An instruction of classic BPF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) k: u32,
}

const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const MODULO: u16 = 0x94;
const RETURN: u16 = 0x16;

/// The top bit of a packet's first byte: its header is a long one.
const LONG_HEADER: u32 = 0x80;

/// Where the destination connection id begins in a long header: behind the first byte, the version and its
/// own length.
const ID_IN_LONG_HEADER: u32 = 6;

/// The same in a short header.
const ID_IN_SHORT_HEADER: u32 = 1;

/// The rule as a program over a UDP payload that gives the worker's place. A payload that is too short for an
/// id ends it with 0, as the kernel does for every load behind the end.
pub(super) fn program(workers: u32) -> [Instruction; 7] {
    let step = |code, k| Instruction { code, if_true: 0, if_false: 0, k };
    [
        step(LOAD_BYTE, 0),
        Instruction { code: JUMP_IF_ANY_BIT, if_true: 0, if_false: 2, k: LONG_HEADER },
        step(LOAD_WORD, ID_IN_LONG_HEADER),
        step(JUMP, 1),
        step(LOAD_WORD, ID_IN_SHORT_HEADER),
        step(MODULO, workers),
        step(RETURN, 0),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use quinn_proto::ConnectionIdGenerator as _;

    use super::{Instruction, JUMP, JUMP_IF_ANY_BIT, LOAD_BYTE, LOAD_WORD, MODULO, RETURN, program};
    use crate::quic::{SteeredIds, Steering, worker_of};

    /// What the kernel does with a program.
    fn interpret(program: &[Instruction], payload: &[u8]) -> u32 {
        let (mut accumulator, mut next) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, k } = program[next];
            next += 1;
            let rest = payload.get(k as usize..).unwrap_or_default();
            match code {
                LOAD_BYTE => match rest.first() {
                    Some(byte) => accumulator = u32::from(*byte),
                    None => return 0,
                },
                LOAD_WORD => match rest.first_chunk() {
                    Some(bytes) => accumulator = u32::from_be_bytes(*bytes),
                    None => return 0,
                },
                JUMP => next += k as usize,
                JUMP_IF_ANY_BIT => next += usize::from(if accumulator & k == 0 { if_false } else { if_true }),
                MODULO => accumulator %= k,
                RETURN => return accumulator,
                code => panic!("no such instruction: {code:#x}"),
            }
        }
    }

    /// A packet of RFC 9000, section 17.2, as far as its source connection id.
    pub(in crate::sockets) fn long_header(id: &[u8]) -> Vec<u8> {
        let length = u8::try_from(id.len()).unwrap();
        [&[0xc3, 0, 0, 0, 1, length], id, &[8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0x44, 0xd0]].concat()
    }

    /// A packet of RFC 9000, section 17.3, whose packet number is protected.
    pub(in crate::sockets) fn short_header(id: &[u8]) -> Vec<u8> {
        [&[0x5e], id, &[0xab; 24]].concat()
    }

    #[test]
    fn the_kernels_program_is_the_generators_rule() {
        for workers in 1..=64 {
            for worker in 0..workers {
                let mut ids = SteeredIds::new(7, Steering { worker, workers });
                for _ in 0..10 {
                    let id = ids.generate_cid();
                    assert_eq!(interpret(&program(workers), &short_header(&id)), worker);
                    assert_eq!(interpret(&program(workers), &long_header(&id)), worker);
                    assert_eq!(worker_of(&id, workers), worker);
                }
            }
        }
    }

    #[test]
    fn a_clients_own_id_of_any_length_leads_to_one_worker() {
        for length in 8..=20 {
            let id: Vec<u8> = (0..length).map(|i: u8| i.wrapping_mul(37)).collect();
            assert_eq!(interpret(&program(5), &long_header(&id)), worker_of(&id, 5));
        }
    }

    #[test]
    fn what_is_too_short_goes_to_the_first_worker() {
        for payload in [&[][..], &[0xc0], &[0x40, 1, 2, 3], &[0xc0, 0, 0, 0, 1, 8, 1, 2, 3]] {
            assert_eq!(interpret(&program(5), payload), 0);
        }
    }
}
