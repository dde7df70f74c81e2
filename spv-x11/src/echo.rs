//! ECHO-512, by Benadjila, Billet, Gilbert, Macario-Rat, Peyrin, Robshaw and Seurin, for a
//! 64-byte message.
//!
//! Rule: "SHA-3 Proposal: ECHO", version 1.5, section 3: an AES of sixteen 128-bit words in place
//! of sixteen bytes, whose S-box is two rounds of the AES itself.

use crate::aes_word::{Word, from_bytes, to_bytes};
use crate::lanes::Lanes;
use aes::Block;
use aes::hazmat::{Block8, cipher_round_par};
use core::array::from_fn;

/// Length of the message and of the digest, in bits.
const BITS: u32 = 512;
const ROUNDS: usize = 10;

/// Sixteen words, column by column, four to a column.
type State = [Word; 16];

pub(crate) fn echo512(input: &[u8; 64]) -> [u8; 64] {
    let mut block = [0; 128];
    block[..64].copy_from_slice(input);
    block[64] = 0x80;
    block[110..112].copy_from_slice(&(BITS as u16).to_le_bytes());
    block[112..116].copy_from_slice(&BITS.to_le_bytes());
    let (words, _) = block.as_chunks();

    let initial: State = from_fn(|i| if i < 8 { Lanes([BITS, 0, 0, 0]) } else { from_bytes(&words[i - 8]) });
    let mut state = initial;
    // The key counts on from the number of message bits hashed, once for every word.
    let mut counter = BITS;
    for _ in 0..ROUNDS {
        sub_words(&mut state, counter);
        counter += 16;
        state = shift_rows_and_mix_columns(&state);
    }

    let mut digest = [0; 64];
    for (i, bytes) in digest.as_chunks_mut().0.iter_mut().enumerate() {
        *bytes = to_bytes(initial[i] ^ initial[i + 8] ^ state[i] ^ state[i + 8]);
    }
    digest
}

/// Two AES rounds on each word: one under the counter, one under the salt, which is zero.
#[inline(always)]
fn sub_words(state: &mut State, counter: u32) {
    for (half, counter) in state.as_chunks_mut::<8>().0.iter_mut().zip([counter, counter + 8]) {
        let mut blocks: Block8 = Block8::from_fn(|i| Block::from(to_bytes(half[i])));
        let keys = Block8::from_fn(|i| Block::from(to_bytes(Lanes([counter + i as u32, 0, 0, 0]))));
        cipher_round_par(&mut blocks, &keys);
        cipher_round_par(&mut blocks, &Block8::default());
        for (word, block) in half.iter_mut().zip(&blocks) {
            *word = from_bytes(&block.0);
        }
    }
}

/// ShiftRows of whole words, then MixColumns on each byte position of a column of words.
#[inline(always)]
fn shift_rows_and_mix_columns(state: &State) -> State {
    let mut mixed = *state;
    for (column, output) in mixed.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let [a, b, c, d]: [Word; 4] = from_fn(|row| state[4 * ((column + row) % 4) + row]);
        let (ab, bc, cd) = (a ^ b, b ^ c, c ^ d);
        let (ab2, bc2, cd2) = (double(ab), double(bc), double(cd));
        *output = [ab2 ^ bc ^ d, bc2 ^ a ^ cd, cd2 ^ ab ^ d, ab2 ^ bc2 ^ cd2 ^ ab ^ c];
    }
    mixed
}

/// Every byte times two in the field of the AES.
#[inline(always)]
fn double(word: Word) -> Word {
    let bytes = to_bytes(word);
    from_bytes(&from_fn(|i| {
        let reduction = if bytes[i] >= 0x80 { 0x1b } else { 0 };
        (bytes[i] << 1) ^ reduction
    }))
}
