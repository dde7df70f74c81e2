//! Luffa-512 version 2, by De Cannière, Sato and Watanabe, for a 64-byte message.
//!
//! Rule: "Hash Function Luffa, Specification Ver. 2.0", sections 3 and 4. Five permutations of
//! eight 32-bit words run side by side, so one lane per permutation does them all at once: four
//! in a vector and the fifth in scalar registers, which the processor works on in parallel.

use crate::lanes::Lanes;
use core::array::from_fn;
use core::ops::BitXor;

/// Number of permutations.
const WIDTH: usize = 5;

/// Eight words of 32 bits: a message block, or the state of one permutation.
#[derive(Clone, Copy)]
struct Block([u32; 8]);

impl BitXor for Block {
    type Output = Self;
    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

impl Block {
    /// Multiplication by x in the ring of the message injection, modulo x^8 + x^4 + x^3 + x + 1.
    #[inline(always)]
    fn double(self) -> Self {
        let [a, b, c, d, e, f, g, h] = self.0;
        Self([h, a ^ h, b, c ^ h, d ^ h, e, f, g])
    }
}

const IV: [[u32; 8]; WIDTH] = [
    [0x6d251e69, 0x44b051e0, 0x4eaa6fb4, 0xdbf78465, 0x6e292011, 0x90152df4, 0xee058139, 0xdef610bb],
    [0xc3b44b95, 0xd9d2f256, 0x70eee9a0, 0xde099fa3, 0x5d9b0557, 0x8fc944b3, 0xcf1ccf0e, 0x746cd581],
    [0xf7efc89d, 0x5dba5781, 0x04016ce5, 0xad659c05, 0x0306194f, 0x666d1836, 0x24aa230a, 0x8b264ae7],
    [0x858075d5, 0x36d79cce, 0xe571f7d7, 0x204b1f67, 0x35870c6a, 0x57e9e923, 0x14bcb808, 0x7cde72ce],
    [0x6c68e9be, 0x5ec41e22, 0xc825b7c7, 0xaffb4363, 0xf5df3999, 0x0fc688f1, 0xb07224cc, 0x03e86cea],
];

/// Step constants of words 0 and 4, by permutation and step.
const CONSTANTS: [[[u32; 8]; 2]; WIDTH] = [
    [
        [0x303994a6, 0xc0e65299, 0x6cc33a12, 0xdc56983e, 0x1e00108f, 0x7800423d, 0x8f5b7882, 0x96e1db12],
        [0xe0337818, 0x441ba90d, 0x7f34d442, 0x9389217f, 0xe5a8bce6, 0x5274baf4, 0x26889ba7, 0x9a226e9d],
    ],
    [
        [0xb6de10ed, 0x70f47aae, 0x0707a3d4, 0x1c1e8f51, 0x707a3d45, 0xaeb28562, 0xbaca1589, 0x40a46f3e],
        [0x01685f3d, 0x05a17cf4, 0xbd09caca, 0xf4272b28, 0x144ae5cc, 0xfaa7ae2b, 0x2e48f1c1, 0xb923c704],
    ],
    [
        [0xfc20d9d2, 0x34552e25, 0x7ad8818f, 0x8438764a, 0xbb6de032, 0xedb780c8, 0xd9847356, 0xa2c78434],
        [0xe25e72c1, 0xe623bb72, 0x5c58a4a4, 0x1e38e2e7, 0x78e38b9d, 0x27586719, 0x36eda57f, 0x703aace7],
    ],
    [
        [0xb213afa5, 0xc84ebe95, 0x4e608a22, 0x56d858fe, 0x343b138f, 0xd0ec4e3d, 0x2ceb4882, 0xb3ad2208],
        [0xe028c9bf, 0x44756f91, 0x7e8fce32, 0x956548be, 0xfe191be2, 0x3cb226e5, 0x5944a28e, 0xa1c4c355],
    ],
    [
        [0xf0d2e9e3, 0xac11d7fa, 0x1bcb66f2, 0x6f2d9bc9, 0x78602649, 0x8edae952, 0x3b6ba548, 0xedae9520],
        [0x5090d577, 0x2d1925ab, 0xb46496ac, 0xd1925ab0, 0x29131ab6, 0x0fc053c3, 0x3f014f0c, 0xfc053c31],
    ],
];

pub(crate) fn luffa512(input: &[u8; 64]) -> [u8; 64] {
    let mut state = IV.map(Block);
    for bytes in input.as_chunks::<32>().0 {
        let mut block = [0; 8];
        for (word, bytes) in block.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        state = permute(inject(state, Block(block)));
    }
    let padding = Block([0x80000000, 0, 0, 0, 0, 0, 0, 0]);
    state = permute(inject(state, padding));

    // Each blank round yields half of the digest.
    let mut digest = [0; 64];
    for bytes in digest.as_chunks_mut::<32>().0 {
        state = permute(inject(state, Block([0; 8])));
        let [a, b, c, d, e] = state;
        let sum = a ^ b ^ c ^ d ^ e;
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(sum.0) {
            *bytes = word.to_be_bytes();
        }
    }
    digest
}

/// The message injection for five permutations.
fn inject(state: [Block; WIDTH], message: Block) -> [Block; WIDTH] {
    let [a, b, c, d, e] = state;
    let sum = (a ^ b ^ c ^ d ^ e).double();
    let state = state.map(|block| block ^ sum);
    // Each permutation takes its neighbour's state in, once in either direction.
    let state: [Block; WIDTH] = from_fn(|i| state[i].double() ^ state[(i + 1) % WIDTH]);
    let mut state: [Block; WIDTH] = from_fn(|i| state[i].double() ^ state[(i + 4) % WIDTH]);
    let mut message = message;
    for block in &mut state {
        *block = *block ^ message;
        message = message.double();
    }
    state
}

/// The five permutations, with the rotation of the upper words that tells them apart.
fn permute(state: [Block; WIDTH]) -> [Block; WIDTH] {
    let state: [Block; WIDTH] = from_fn(|j| {
        let mut block = state[j];
        for word in &mut block.0[4..] {
            *word = word.rotate_left(j as u32);
        }
        block
    });
    let vector = steps::<4>(from_fn(|i| Lanes(from_fn(|j| state[j].0[i]))), 0);
    let scalar = steps::<1>(from_fn(|i| Lanes([state[4].0[i]])), 4);
    from_fn(|j| Block(from_fn(|i| if j < 4 { vector[i].0[j] } else { scalar[i].0[0] })))
}

/// The eight steps of permutations `first` to `first + N - 1`.
#[inline(always)]
fn steps<const N: usize>(mut x: [Lanes<N>; 8], first: usize) -> [Lanes<N>; 8] {
    for step in 0..8 {
        let [a, b, c, d, e, f, g, h] = x;
        let [a, b, c, d] = sub_crumb([a, b, c, d]);
        let [f, g, h, e] = sub_crumb([f, g, h, e]);
        let (a, e) = mix_word(a, e);
        let (b, f) = mix_word(b, f);
        let (c, g) = mix_word(c, g);
        let (d, h) = mix_word(d, h);
        let constant = |word: usize| Lanes(from_fn(|j| CONSTANTS[first + j][word][step]));
        x = [a ^ constant(0), b, c, d, e ^ constant(1), f, g, h];
    }
    x
}

/// The 4-bit substitution on every bit position of four words.
#[inline(always)]
fn sub_crumb<const N: usize>([a, b, c, d]: [Lanes<N>; 4]) -> [Lanes<N>; 4] {
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
fn mix_word<const N: usize>(a: Lanes<N>, b: Lanes<N>) -> (Lanes<N>, Lanes<N>) {
    let b = b ^ a;
    let a = a.rotate_left(2) ^ b;
    let b = b.rotate_left(14) ^ a;
    let a = a.rotate_left(10) ^ b;
    (a, b.rotate_left(1))
}
