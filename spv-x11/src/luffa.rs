//! Luffa-512 version 2, by De Cannière, Sato and Watanabe, for a 64-byte message.
//!
//! Rule: "Hash Function Luffa, Specification Ver. 2.0". Five permutations of eight 32-bit words run
//! side by side, so one lane per permutation does them all at once: four in a vector and the fifth
//! in scalar registers, which the processor works on in parallel.

use crate::lanes::{Lanes, Words};
use core::array::from_fn;

/// Eight words of 32 bits: a message block, or the state of one or more permutations.
type Block<W> = [W; 8];

/// The permutations 0 to 3 in the lanes of vectors, permutation 4 by itself.
#[derive(Clone, Copy)]
struct State {
    four: Block<Lanes<1>>,
    fifth: Block<u32>,
}

const IV: State = State {
    four: [
        Lanes::new([[0x6d251e69, 0xc3b44b95, 0xf7efc89d, 0x858075d5]]),
        Lanes::new([[0x44b051e0, 0xd9d2f256, 0x5dba5781, 0x36d79cce]]),
        Lanes::new([[0x4eaa6fb4, 0x70eee9a0, 0x04016ce5, 0xe571f7d7]]),
        Lanes::new([[0xdbf78465, 0xde099fa3, 0xad659c05, 0x204b1f67]]),
        Lanes::new([[0x6e292011, 0x5d9b0557, 0x0306194f, 0x35870c6a]]),
        Lanes::new([[0x90152df4, 0x8fc944b3, 0x666d1836, 0x57e9e923]]),
        Lanes::new([[0xee058139, 0xcf1ccf0e, 0x24aa230a, 0x14bcb808]]),
        Lanes::new([[0xdef610bb, 0x746cd581, 0x8b264ae7, 0x7cde72ce]]),
    ],
    fifth: [0x6c68e9be, 0x5ec41e22, 0xc825b7c7, 0xaffb4363, 0xf5df3999, 0x0fc688f1, 0xb07224cc, 0x03e86cea],
};

/// Constants of each step for words 0 and 4 of the first four permutations.
const CONSTANTS: [[[u32; 4]; 2]; 8] = [
    [[0x303994a6, 0xb6de10ed, 0xfc20d9d2, 0xb213afa5], [0xe0337818, 0x01685f3d, 0xe25e72c1, 0xe028c9bf]],
    [[0xc0e65299, 0x70f47aae, 0x34552e25, 0xc84ebe95], [0x441ba90d, 0x05a17cf4, 0xe623bb72, 0x44756f91]],
    [[0x6cc33a12, 0x0707a3d4, 0x7ad8818f, 0x4e608a22], [0x7f34d442, 0xbd09caca, 0x5c58a4a4, 0x7e8fce32]],
    [[0xdc56983e, 0x1c1e8f51, 0x8438764a, 0x56d858fe], [0x9389217f, 0xf4272b28, 0x1e38e2e7, 0x956548be]],
    [[0x1e00108f, 0x707a3d45, 0xbb6de032, 0x343b138f], [0xe5a8bce6, 0x144ae5cc, 0x78e38b9d, 0xfe191be2]],
    [[0x7800423d, 0xaeb28562, 0xedb780c8, 0xd0ec4e3d], [0x5274baf4, 0xfaa7ae2b, 0x27586719, 0x3cb226e5]],
    [[0x8f5b7882, 0xbaca1589, 0xd9847356, 0x2ceb4882], [0x26889ba7, 0x2e48f1c1, 0x36eda57f, 0x5944a28e]],
    [[0x96e1db12, 0x40a46f3e, 0xa2c78434, 0xb3ad2208], [0x9a226e9d, 0xb923c704, 0x703aace7, 0xa1c4c355]],
];

/// The same for the fifth.
const LAST_CONSTANTS: [[u32; 2]; 8] = [
    [0xf0d2e9e3, 0x5090d577],
    [0xac11d7fa, 0x2d1925ab],
    [0x1bcb66f2, 0xb46496ac],
    [0x6f2d9bc9, 0xd1925ab0],
    [0x78602649, 0x29131ab6],
    [0x8edae952, 0x0fc053c3],
    [0x3b6ba548, 0x3f014f0c],
    [0xedae9520, 0xfc053c31],
];

pub(crate) fn luffa512(input: &[u8; 64]) -> [u8; 64] {
    let mut state = IV;
    for bytes in input.as_chunks::<32>().0 {
        let (words, _) = bytes.as_chunks();
        let block = from_fn(|i| u32::from_be_bytes(words[i]));
        state = permute(inject(state, block));
    }
    let padding = [0x80000000, 0, 0, 0, 0, 0, 0, 0];
    state = permute(inject(state, padding));

    // Each blank round yields half of the digest.
    let mut digest = [0; 64];
    for half in digest.as_chunks_mut::<32>().0 {
        state = permute(inject(state, [0; 8]));
        for (i, bytes) in half.as_chunks_mut().0.iter_mut().enumerate() {
            *bytes = sum(&state, i).first().to_be_bytes();
        }
    }
    digest
}

/// Word `i` of all five permutations added up, in every lane.
#[inline(always)]
fn sum(state: &State, i: usize) -> Lanes<1> {
    let pairs = state.four[i] ^ state.four[i].swap(2);
    pairs ^ pairs.swap(1) ^ Lanes::from_fn(|_| state.fifth[i])
}

/// Multiplication by x in the ring of the message injection, modulo x^8 + x^4 + x^3 + x + 1.
#[inline(always)]
fn double<W: Words>([a, b, c, d, e, f, g, h]: Block<W>) -> Block<W> {
    [h, a ^ h, b, c ^ h, d ^ h, e, f, g]
}

#[inline(always)]
fn add<W: Words>(x: Block<W>, y: Block<W>) -> Block<W> {
    from_fn(|i| x[i] ^ y[i])
}

/// The message injection for five permutations.
#[inline(always)]
fn inject(State { four, fifth }: State, message: Block<u32>) -> State {
    let sum = double(from_fn(|i| sum(&State { four, fifth }, i)));
    let four = add(four, sum);
    let fifth = add(fifth, sum.map(Lanes::first));

    // Each permutation takes in the one after it, then the one before it.
    let next = from_fn(|i| {
        let [_, b, c, d] = four[i].to_array();
        Lanes::new([[b, c, d, fifth[i]]])
    });
    let first = four.map(Lanes::first);
    let four = add(double(four), next);
    let fifth = add(double(fifth), first);

    let mut last = [0; 8];
    let previous = from_fn(|i| {
        let [a, b, c, d] = four[i].to_array();
        last[i] = d;
        Lanes::new([[fifth[i], a, b, c]])
    });
    let four = add(double(four), previous);
    let fifth = add(double(fifth), last);

    let twice = double(message);
    let fourfold = double(twice);
    let eightfold = double(fourfold);
    let messages = from_fn(|i| Lanes::new([[message[i], twice[i], fourfold[i], eightfold[i]]]));
    State { four: add(four, messages), fifth: add(fifth, double(eightfold)) }
}

/// The five permutations, with the rotation of the upper words that tells them apart.
#[inline(always)]
fn permute(State { mut four, mut fifth }: State) -> State {
    // Permutation j rotates by j: by one where j is odd, then by two where j is 2 or 3.
    let odd = Lanes::new([[0, !0, 0, !0]]);
    let upper = Lanes::new([[0, 0, !0, !0]]);
    for word in &mut four[4..] {
        *word = *word ^ ((*word ^ word.rotate_left(1)) & odd);
        *word = *word ^ ((*word ^ word.rotate_left(2)) & upper);
    }
    for word in &mut fifth[4..] {
        *word = word.rotate_left(4);
    }
    for (constants, constant) in CONSTANTS.iter().zip(LAST_CONSTANTS) {
        four = step(four, constants.map(|words| Lanes::new([words])));
        fifth = step(fifth, constant);
    }
    State { four, fifth }
}

#[inline(always)]
fn step<W: Words>([a, b, c, d, e, f, g, h]: Block<W>, constants: [W; 2]) -> Block<W> {
    let [a, b, c, d] = sub_crumb([a, b, c, d]);
    let [f, g, h, e] = sub_crumb([f, g, h, e]);
    let (a, e) = mix_word(a, e);
    let (b, f) = mix_word(b, f);
    let (c, g) = mix_word(c, g);
    let (d, h) = mix_word(d, h);
    [a ^ constants[0], b, c, d, e ^ constants[1], f, g, h]
}

/// The 4-bit substitution on every bit position of four words.
#[inline(always)]
fn sub_crumb<W: Words>([a, b, c, d]: [W; 4]) -> [W; 4] {
    let t = a;
    let a = (a | b) ^ d;
    let c = c ^ d;
    let d = d & t;
    let b = !b ^ d;
    let d = d ^ c;
    let c = (c & a) ^ b;
    let a = !a;
    let b = b | d;
    let t = t ^ b;
    let d = d ^ c;
    [t, b ^ a, c & b, d]
}

#[inline(always)]
fn mix_word<W: Words>(a: W, b: W) -> (W, W) {
    let b = b ^ a;
    let a = a.rotate_left(2) ^ b;
    let b = b.rotate_left(14) ^ a;
    let a = a.rotate_left(10) ^ b;
    (a, b.rotate_left(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "e18b08234bed8586b8d40314dc2854086d8d85ddf83b321800b4039bf162fc4a"
            "b9229ca3d34f5c554e8409ef70a50c13164d00094142a6139b36e3ab911c81de"
        );
        assert_eq!(luffa512(&KAT_MESSAGE), digest);
    }
}
