//! Skein-512-512, version 1.3, by Ferguson, Lucks, Schneier and others, for a 64-byte message.
//!
//! Rule: "The Skein Hash Function Family", version 1.3, sections 3.3 (Threefish), 3.4 (UBI) and
//! 3.5 (Skein). One message block and one output block, so Threefish-512 runs twice.

/// The chaining value after the configuration block of Skein-512-512 (appendix B).
const IV: [u64; 8] = [
    0x4903adff749c51ce,
    0x0d95de399746df03,
    0x8fd1934127c79bce,
    0x9a255629ff352cb1,
    0x5db62599df6ca7b0,
    0xeabe394ca9d5c3f4,
    0x991112c71a75b523,
    0xae18a40b660fcc33,
];

/// The key schedule constant C240.
const KEY_PARITY: u64 = 0x1bd11bdaa9fc1a22;

/// Rotations of the four mixes of each round, repeating after eight rounds.
const ROTATIONS: [[u32; 4]; 8] = [
    [46, 36, 19, 37],
    [33, 27, 14, 42],
    [17, 49, 36, 39],
    [44, 9, 54, 56],
    [39, 30, 34, 24],
    [13, 50, 10, 17],
    [25, 29, 39, 43],
    [8, 35, 56, 22],
];

// Second tweak words: the block type in bits 56 to 61, first and final block in bits 62 and 63.
const MESSAGE: u64 = (48 << 56) | (0b11 << 62);
const OUTPUT: u64 = (63 << 56) | (0b11 << 62);

pub(crate) fn skein512(input: &[u8; 64]) -> [u8; 64] {
    let mut message = [0; 8];
    for (word, bytes) in message.iter_mut().zip(input.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let mut chain = threefish(&IV, [64, MESSAGE], message);
    for (word, m) in chain.iter_mut().zip(message) {
        *word ^= m;
    }
    // The output block is the 8-byte counter 0, so nothing is left to feed forward.
    let output = threefish(&chain, [8, OUTPUT], [0; 8]);

    let mut digest = [0; 64];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(output) {
        *bytes = word.to_le_bytes();
    }
    digest
}

/// Threefish-512: encrypts `v` under `key` and `tweak`.
fn threefish(key: &[u64; 8], tweak: [u64; 2], mut v: [u64; 8]) -> [u64; 8] {
    // Both schedules are cyclic; laid out twice and more they need no reduction of the index.
    let mut k = [0; 27];
    k[..8].copy_from_slice(key);
    k[8] = key.iter().fold(KEY_PARITY, |parity, word| parity ^ word);
    k.copy_within(0..9, 9);
    k.copy_within(0..9, 18);
    let tweaks = [tweak[0], tweak[1], tweak[0] ^ tweak[1]];
    let t: [u64; 20] = core::array::from_fn(|i| tweaks[i % 3]);

    let add_subkey = |v: &mut [u64; 8], s: usize| {
        for i in 0..8 {
            v[i] = v[i].wrapping_add(k[s + i]);
        }
        v[5] = v[5].wrapping_add(t[s]);
        v[6] = v[6].wrapping_add(t[s + 1]);
        v[7] = v[7].wrapping_add(s as u64);
    };
    for s in 0..9 {
        add_subkey(&mut v, 2 * s);
        v = round(v, ROTATIONS[0]);
        v = round(v, ROTATIONS[1]);
        v = round(v, ROTATIONS[2]);
        v = round(v, ROTATIONS[3]);
        add_subkey(&mut v, 2 * s + 1);
        v = round(v, ROTATIONS[4]);
        v = round(v, ROTATIONS[5]);
        v = round(v, ROTATIONS[6]);
        v = round(v, ROTATIONS[7]);
    }
    add_subkey(&mut v, 18);
    v
}

/// Four mixes and the word permutation.
#[inline(always)]
fn round(v: [u64; 8], rotations: [u32; 4]) -> [u64; 8] {
    let mix = |i: usize| {
        let sum = v[2 * i].wrapping_add(v[2 * i + 1]);
        (sum, v[2 * i + 1].rotate_left(rotations[i]) ^ sum)
    };
    let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (mix(0), mix(1), mix(2), mix(3));
    [b0, a1, c0, d1, d0, c1, a0, b1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "2df35398690d99075bc67bde85d7cdf512df9f05fff16cfd1aef3f7e641961e6"
            "0daf81fd8f9a625fe9149866fdc69f73c58aae9f758ab5ea3011c67649e3f0b0"
        );
        assert_eq!(skein512(&KAT_MESSAGE), digest);
    }
}
