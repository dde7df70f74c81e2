//! CubeHash16/32-512 (in the notation of the second round, CubeHash160+16/32+160-512), by
//! Bernstein, for a 64-byte message.
//!
//! Rule: "CubeHash specification (2.B.1)". The 32 words of the state are two halves of 16 lanes;
//! each of the four swaps of a round exchanges the lanes that differ in one bit of the index.

use crate::lanes::{Lanes, Words};

/// The state after the ten times sixteen rounds of the set-up, which depend on nothing but the
/// parameters.
const IV: State = State {
    low: Lanes::new([
        [0x2aea2a61, 0x50f494d4, 0x2d538b8b, 0x4167d83e],
        [0x3fee2313, 0xc701cf8c, 0xcc39968e, 0x50ac5695],
        [0x4d42c787, 0xa647a8b3, 0x97cf0bef, 0x825b4537],
        [0xeef864d2, 0xf22090c4, 0xd0e5cd33, 0xa23911ae],
    ]),
    high: Lanes::new([
        [0xfcd398d9, 0x148fe485, 0x1b017bef, 0xb6444532],
        [0x6a536159, 0x2ff5781c, 0x91fa7934, 0x0dbadea9],
        [0xd65c8a2b, 0xa5a70e75, 0xb1c62456, 0xbc796576],
        [0x1921c8f7, 0xe7989af1, 0x7795d246, 0xd43e3b44],
    ]),
};

const ROUNDS_PER_BLOCK: usize = 16;
const FINAL_ROUNDS: usize = 160;

#[derive(Clone, Copy)]
struct State {
    low: Lanes<4>,
    high: Lanes<4>,
}

pub(crate) fn cubehash512(input: &[u8; 64]) -> [u8; 64] {
    let mut state = IV;
    for block in input.as_chunks::<32>().0 {
        let (words, _) = block.as_chunks();
        state.low = state.low ^ Lanes::from_fn(|i| words.get(i).map_or(0, |word| u32::from_le_bytes(*word)));
        state = rounds(state, ROUNDS_PER_BLOCK);
    }
    // The padding is a one bit and zeros up to the end of a block: a block of its own here.
    state.low = state.low ^ Lanes::new([[0x80, 0, 0, 0], [0; 4], [0; 4], [0; 4]]);
    state = rounds(state, ROUNDS_PER_BLOCK);
    state.high = state.high ^ Lanes::new([[0; 4], [0; 4], [0; 4], [0, 0, 0, 1]]);
    state = rounds(state, FINAL_ROUNDS);

    let mut digest = [0; 64];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state.low.words()) {
        *bytes = word.to_le_bytes();
    }
    digest
}

fn rounds(State { mut low, mut high }: State, count: usize) -> State {
    for _ in 0..count {
        high = high + low;
        low = low.rotate_left(7).swap(8) ^ high;
        high = high.swap(2) + low;
        low = low.rotate_left(11).swap(4) ^ high;
        high = high.swap(1);
    }
    State { low, high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "c096f535cab880f0d77d6aff91fcbdc863cac17fd5177122e2b9c5a0063a6182"
            "dcb1f0086618b80fe4c02872dc3ab6ab8cb2608d19d904935b392c20c520fdba"
        );
        assert_eq!(cubehash512(&KAT_MESSAGE), digest);
    }

    /// The set-up of the specification: the parameters in the first three words, then ten times
    /// the sixteen rounds of a block.
    #[test]
    fn initial_value_follows_from_the_parameters() {
        let (digest_bytes, block_bytes) = (64, 32);
        let parameters = [digest_bytes, block_bytes, ROUNDS_PER_BLOCK as u32, 0];
        let start = State { low: Lanes::new([parameters, [0; 4], [0; 4], [0; 4]]), high: Lanes::ZERO };
        let state = rounds(start, 10 * ROUNDS_PER_BLOCK);
        assert!(state.low.words().eq(IV.low.words()));
        assert!(state.high.words().eq(IV.high.words()));
    }
}
