//! SIMD-512 with the tweak of the second round, by Leurent, Bouillaguet and Fouque, for a 64-byte
//! message.
//!
//! Rule: "SIMD Is a Message Digest", updated for the second round. The message expansion is a
//! number-theoretic transform modulo 257; the compression is eight Feistel ladders side by side,
//! one per lane.

use crate::lanes::{Lanes, Words};
use core::array::from_fn;

const IV: [Lanes<2>; 4] = [
    Lanes::new([[0x0ba16b95, 0x72f999ad, 0x9fecc2ae, 0xba3264fc], [0x5e894929, 0x8e9f30e5, 0x2f1daa37, 0xf0f2c558]]),
    Lanes::new([[0xac506643, 0xa90635a5, 0xe25b878b, 0xaab7878f], [0x88817f7a, 0x0a02892b, 0x559a7550, 0x598f657e]]),
    Lanes::new([[0x7eef60a1, 0x6b70e3e8, 0x9c1714d1, 0xb958e2a8], [0xab02675e, 0xed1c014f, 0xcd8d65bb, 0xfdb7a257]]),
    Lanes::new([[0x09254899, 0xd699c7bc, 0x9019b6dc, 0x2b9022e4], [0x8fa14956, 0x21bf9bd3, 0xb94d0943, 0x6ffddc22]]),
];

/// Rotations of the steps of each round.
const ROTATIONS: [[u32; 4]; 4] = [[3, 23, 17, 27], [28, 19, 22, 7], [29, 9, 15, 5], [4, 13, 10, 25]];

/// The lanes that each step exchanges, cycling through the steps.
const SWAPS: [usize; 7] = [1, 6, 2, 3, 5, 7, 4];

/// Position of the expanded words of each step in the transform, in units of sixteen values.
const ORDER: [usize; 32] =
    [4, 6, 0, 2, 7, 5, 3, 1, 15, 11, 12, 8, 9, 13, 10, 14, 1, 2, 7, 4, 6, 5, 0, 3, 6, 0, 1, 7, 3, 5, 4, 2];

/// `41^i` modulo 257, between -128 and 128; 41 has order 256.
const POWERS: [i16; 256] = {
    let mut powers = [0; 256];
    let mut power = 1;
    let mut i = 0;
    while i < 256 {
        powers[i] = centre(power);
        power = power * 41 % 257;
        i += 1;
    }
    powers
};

/// The first two stages of the transform: `41^(p * r)` at `4 * p + r`.
const FIRST_TWIDDLES: [i16; 256] = {
    let mut twiddles = [0; 256];
    let mut i = 0;
    while i < 256 {
        twiddles[i] = POWERS[(i / 4) * (i % 4) % 256];
        i += 1;
    }
    twiddles
};

/// The mark of a block other than the last: a one as input 255 of the transform.
const MARK: [i16; 256] = {
    let mut mark = [0; 256];
    let mut i = 0;
    while i < 256 {
        mark[i] = POWERS[255 * i % 256];
        i += 1;
    }
    mark
};

/// The last block, which holds nothing but the length of the message, 512 bits.
const LAST_BLOCK: [Lanes<2>; 4] = [Lanes::new([[512, 0, 0, 0], [0; 4]]), Lanes::ZERO, Lanes::ZERO, Lanes::ZERO];

/// The expansion of the last block: the length is a two as input 1 of the transform, the mark a
/// one as inputs 253 and 255.
const LAST_EXPANDED: [Lanes<2>; 32] = {
    let mut y = [0; 256];
    let mut i = 0;
    while i < 256 {
        let sum = 2 * POWERS[i] + POWERS[253 * i % 256] + POWERS[255 * i % 256];
        y[i] = centre(sum.rem_euclid(257) as u32);
        i += 1;
    }
    let mut words = [Lanes::ZERO; 32];
    let mut step = 0;
    while step < 32 {
        let mut quads = [[0; 4]; 2];
        let mut lane = 0;
        while lane < 8 {
            quads[lane / 4][lane % 4] = expanded_word(&y, step, lane);
            lane += 1;
        }
        words[step] = Lanes::new(quads);
        step += 1;
    }
    words
};

const fn centre(x: u32) -> i16 {
    if x > 128 { x as i16 - 257 } else { x as i16 }
}

pub(crate) fn simd512(input: &[u8; 64]) -> [u8; 64] {
    let mut words = [0; 16];
    for (word, bytes) in words.iter_mut().zip(input.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    let block = [Lanes::from_fn(|i| words[i]), Lanes::from_fn(|i| words[i + 8]), Lanes::ZERO, Lanes::ZERO];
    let state = compress(IV, block, &expand(&transform(input)));
    let state = compress(state, LAST_BLOCK, &LAST_EXPANDED);

    let mut digest = [0; 64];
    let output = state[0].words().chain(state[1].words());
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(output) {
        *bytes = word.to_le_bytes();
    }
    digest
}

/// A representative of `x` modulo 257; at most `129 + |x| / 256` from zero.
#[inline(always)]
fn reduce(x: i16) -> i16 {
    let x = x.wrapping_add(128);
    (x & 255) - 128 - (x >> 8)
}

/// The transform of the message block, whose upper half is zero, with the mark added.
///
/// A Stockham transform: the values come out in order and the inner loops run over adjacent
/// ones. Sums stay unreduced: six stages double them from at most 383 to at most 24,512.
fn transform(input: &[u8; 64]) -> [i16; 256] {
    // Three quarters of the 256 inputs are zero, which leaves products for the first two stages.
    let mut y = [0; 256];
    for (i, value) in y.iter_mut().enumerate() {
        let product = i16::from(input[i / 4]).wrapping_mul(FIRST_TWIDDLES[i]);
        *value = (product & 255) - (product >> 8);
    }
    y = stage::<4>(&y);
    y = stage::<8>(&y);
    y = stage::<16>(&y);
    y = stage::<32>(&y);
    y = stage::<64>(&y);
    y = stage::<128>(&y);
    for (value, mark) in y.iter_mut().zip(MARK) {
        let x = reduce(reduce(value.wrapping_add(mark)));
        *value = if x > 128 {
            x - 257
        } else if x < -128 {
            x + 257
        } else {
            x
        };
    }
    y
}

/// One radix-2 stage over `STRIDE` transforms.
#[inline(always)]
fn stage<const STRIDE: usize>(x: &[i16; 256]) -> [i16; 256] {
    let mut y = [0; 256];
    let (first, second) = x.split_at(128);
    let pairs = first.chunks_exact(STRIDE).zip(second.chunks_exact(STRIDE));
    for (p, (output, (a, b))) in y.chunks_exact_mut(2 * STRIDE).zip(pairs).enumerate() {
        let twiddle = POWERS[p * STRIDE];
        let (sums, products) = output.split_at_mut(STRIDE);
        for q in 0..STRIDE {
            sums[q] = a[q].wrapping_add(b[q]);
            products[q] = reduce(reduce(a[q].wrapping_sub(b[q])).wrapping_mul(twiddle));
        }
    }
    y
}

/// The expanded message, eight words for each of the 32 steps.
#[inline(always)]
fn expand(y: &[i16; 256]) -> [Lanes<2>; 32] {
    from_fn(|step| Lanes::from_fn(|lane| expanded_word(y, step, lane)))
}

/// Two values of the transform, each times a constant of the code, in one word.
#[inline(always)]
const fn expanded_word(y: &[i16; 256], step: usize, lane: usize) -> u32 {
    let at = 16 * ORDER[step] + 2 * lane;
    let (low, high, factor) = match step / 8 {
        0 | 1 => (y[at], y[at + 1], 185),
        2 => (y[at], y[at + 128], 233),
        _ => (y[at + 1], y[at + 129], 233),
    };
    let (low, high) = (low.wrapping_mul(factor), high.wrapping_mul(factor));
    low as u16 as u32 | ((high as u16 as u32) << 16)
}

fn compress(chain: [Lanes<2>; 4], block: [Lanes<2>; 4], w: &[Lanes<2>; 32]) -> [Lanes<2>; 4] {
    let mut state = from_fn(|i| chain[i] ^ block[i]);
    state = round::<0>(state, w);
    state = round::<1>(state, w);
    state = round::<2>(state, w);
    state = round::<3>(state, w);
    // The feed-forward: four more steps with the chaining value as the expanded message.
    for (i, &w) in chain.iter().enumerate() {
        state = step(state, choose, w, ROTATIONS[3], 32 + i);
    }
    state
}

#[inline(always)]
fn round<const ROUND: usize>(mut state: [Lanes<2>; 4], w: &[Lanes<2>; 32]) -> [Lanes<2>; 4] {
    let rotations = ROTATIONS[ROUND];
    for i in 0..4 {
        state = step(state, choose, w[8 * ROUND + i], rotations, 8 * ROUND + i);
    }
    for i in 4..8 {
        state = step(state, majority, w[8 * ROUND + i], rotations, 8 * ROUND + i);
    }
    state
}

type Boolean = fn(Lanes<2>, Lanes<2>, Lanes<2>) -> Lanes<2>;

#[inline(always)]
fn choose(a: Lanes<2>, b: Lanes<2>, c: Lanes<2>) -> Lanes<2> {
    ((b ^ c) & a) ^ c
}

#[inline(always)]
fn majority(a: Lanes<2>, b: Lanes<2>, c: Lanes<2>) -> Lanes<2> {
    (a & b) | ((a | b) & c)
}

/// Step `i` of the ladders.
#[inline(always)]
fn step([a, b, c, d]: [Lanes<2>; 4], boolean: Boolean, w: Lanes<2>, rotations: [u32; 4], i: usize) -> [Lanes<2>; 4] {
    let rotated = a.rotate_left(rotations[i % 4]);
    let sum = (d + w + boolean(a, b, c)).rotate_left(rotations[(i + 1) % 4]);
    [sum + rotated.swap(SWAPS[i % 7]), rotated, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "f1c23c1573c37f1491606318203057fea497cc96edd0b307365e76f4f80624dc"
            "618c1726b37896f79a19ee48801dfe17cbce495c77c2b4ea5d9baee6b3c3f19e"
        );
        assert_eq!(simd512(&KAT_MESSAGE), digest);
    }

    /// The sum that defines the transform, term by term.
    #[test]
    fn transform_is_the_sum_of_its_definition() {
        for input in [KAT_MESSAGE, [0xff; 64], [0; 64]] {
            let y = transform(&input);
            for (i, value) in y.into_iter().enumerate() {
                let power = |j: usize| i64::from(POWERS[i * j % 256]);
                let message: i64 = input.iter().enumerate().map(|(j, &x)| i64::from(x) * power(j)).sum();
                let sum = message + power(255);
                assert_eq!(i64::from(value).rem_euclid(257), sum.rem_euclid(257), "value {i}");
                assert!((-128..=128).contains(&value), "value {i} is {value}");
            }
        }
    }
}
