//! The 128-bit word of SHAvite-3 and ECHO, and the AES round on it.

use crate::lanes::Lanes;
use aes::Block;

/// Four 32-bit words, little-endian as in the AES block.
pub(crate) type Word = Lanes<4>;

pub(crate) const ZERO: Word = Lanes([0; 4]);

#[inline(always)]
pub(crate) fn from_bytes(bytes: &[u8; 16]) -> Word {
    let mut word = ZERO;
    for (lane, bytes) in word.0.iter_mut().zip(bytes.as_chunks().0) {
        *lane = u32::from_le_bytes(*bytes);
    }
    word
}

#[inline(always)]
pub(crate) fn to_bytes(word: Word) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (bytes, lane) in bytes.as_chunks_mut().0.iter_mut().zip(word.0) {
        *bytes = lane.to_le_bytes();
    }
    bytes
}

/// SubBytes, ShiftRows, MixColumns and the addition of `key`.
#[inline(always)]
pub(crate) fn aes_round(word: Word, key: Word) -> Word {
    let mut block = Block::from(to_bytes(word));
    aes::hazmat::cipher_round(&mut block, &Block::from(to_bytes(key)));
    from_bytes(&block.0)
}
