//! SHAvite-3-512 with the tweak of the second round, by Biham and Dunkelman, for a 64-byte message.
//!
//! Rule: "The SHAvite-3 Hash Function", tweaked for the second round. This is the function of the
//! text; the reference code and the test vectors of the second round put the bytes into the AES in
//! another order and give other digests.

use crate::aes_word::{Word, aes_round, from_bytes, to_bytes};
use core::array::from_fn;

const IV: [Word; 4] = [
    Word::new([[0x72fccdd8, 0x79ca4727, 0x128a077b, 0x40d55aec]]),
    Word::new([[0xd1901a06, 0x430ae307, 0xb29f5cd1, 0xdf07fbfc]]),
    Word::new([[0x8e45d73d, 0x681ab538, 0xbde86578, 0xdd577e47]]),
    Word::new([[0xe275eade, 0x502d9fcd, 0xb9357178, 0x022a4b9a]]),
];

/// Length of the message and of the digest, in bits.
const BITS: u32 = 512;

/// Round keys of one round: four for each of its two functions.
type RoundKeys = [Word; 8];

pub(crate) fn shavite512(input: &[u8; 64]) -> [u8; 64] {
    let mut block = [0; 128];
    block[..64].copy_from_slice(input);
    block[64] = 0x80;
    block[110..114].copy_from_slice(&BITS.to_le_bytes());
    block[126..].copy_from_slice(&(BITS as u16).to_le_bytes());
    let (words, _) = block.as_chunks();
    let mut keys: RoundKeys = from_fn(|i| from_bytes(&words[i]));

    let mut state = round(IV, &keys);
    for i in 0..13 {
        keys = if i % 2 == 0 { nonlinear(keys, i / 2) } else { linear(keys) };
        state = round(state, &keys);
    }

    let mut digest = [0; 64];
    for (i, bytes) in digest.as_chunks_mut().0.iter_mut().enumerate() {
        *bytes = to_bytes(state[i] ^ IV[i]);
    }
    digest
}

/// Two Feistel steps at once, and the rotation of the four words.
#[inline(always)]
fn round([a, b, c, d]: [Word; 4], k: &RoundKeys) -> [Word; 4] {
    let f = |x: Word, k: &[Word]| {
        let x = aes_round(x ^ k[0], k[1]);
        let x = aes_round(x, k[2]);
        let x = aes_round(x, k[3]);
        aes_round(x, Word::ZERO)
    };
    [d, a ^ f(b, &k[..4]), b, c ^ f(d, &k[4..])]
}

/// Expansion step number `step` of the kind that uses the AES round and the bit counter.
#[inline(always)]
fn nonlinear(k: RoundKeys, step: usize) -> RoundKeys {
    let mut keys = [Word::ZERO; 8];
    let mut before = k[7];
    for (i, (key, old)) in keys.iter_mut().zip(k).enumerate() {
        let [a, b, c, d] = old.to_array();
        before = before ^ aes_round(Word::new([[b, c, d, a]]), Word::ZERO);
        // The counter enters four times, each time at another place and in another order; the
        // inverted word makes sure that it is never without effect.
        let counter = match (step, i) {
            (0, 0) => [BITS, 0, 0, !0],
            (2, 1) => [0, 0, 0, !BITS],
            (4, 7) => [0, 0, BITS, !0],
            (6, 6) => [0, BITS, 0, !0],
            _ => [0; 4],
        };
        before = before ^ Word::new([counter]);
        *key = before;
    }
    keys
}

/// An expansion step that only adds earlier words: 32 and 7 words before.
#[inline(always)]
fn linear(k: RoundKeys) -> RoundKeys {
    let mut keys = k;
    let (mut older, mut old) = (k[6], k[7]);
    for key in &mut keys {
        let [_, a, b, c] = older.to_array();
        let [d, ..] = old.to_array();
        *key = *key ^ Word::new([[a, b, c, d]]);
        (older, old) = (old, *key);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "70c537a050bfba2d977148e5bf5475774aa6438c0141994bb0f484c00e310d11"
            "517511b92a6af06462ba5c89165633efd4ff2ba101e75c171de23e162bb13dff"
        );
        assert_eq!(shavite512(&KAT_MESSAGE), digest);
    }
}
