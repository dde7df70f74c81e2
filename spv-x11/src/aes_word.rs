//! The 128-bit word of SHAvite-3 and ECHO, and the AES round on it.

use crate::lanes::Lanes;
use aes::Block;
use wide::i8x16;

/// Four 32-bit words, little-endian as in the AES block.
pub(crate) type Word = Lanes<1>;

#[inline(always)]
pub(crate) fn from_bytes(bytes: &[u8; 16]) -> Word {
    let (words, _) = bytes.as_chunks();
    Lanes::from_fn(|i| u32::from_le_bytes(words[i]))
}

#[inline(always)]
pub(crate) fn to_bytes(word: Word) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (bytes, lane) in bytes.as_chunks_mut().0.iter_mut().zip(word.words()) {
        *bytes = lane.to_le_bytes();
    }
    bytes
}

#[inline(always)]
pub(crate) fn from_block(block: &Block) -> Word {
    from_bytes(&block.0)
}

#[inline(always)]
pub(crate) fn to_block(word: Word) -> Block {
    Block::from(to_bytes(word))
}

/// SubBytes, ShiftRows, MixColumns and the addition of `key`.
#[inline(always)]
pub(crate) fn aes_round(word: Word, key: Word) -> Word {
    let mut block = to_block(word);
    aes::hazmat::cipher_round(&mut block, &to_block(key));
    from_block(&block)
}

/// Sixteen bytes, each an element of the field of the AES.
pub(crate) type Bytes = i8x16;

#[inline(always)]
pub(crate) fn load(block: &Block) -> Bytes {
    Bytes::new(block.0.map(|byte| byte as i8))
}

#[inline(always)]
pub(crate) fn store(bytes: Bytes) -> Block {
    Block::from(bytes.to_array().map(|byte| byte as u8))
}

/// Every byte times two.
#[inline(always)]
pub(crate) fn double(bytes: Bytes) -> Bytes {
    let carry = bytes.simd_lt(Bytes::splat(0)) & Bytes::splat(0x1b);
    (bytes + bytes) ^ carry
}
