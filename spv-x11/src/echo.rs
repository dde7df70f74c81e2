//! ECHO-512, by Benadjila, Billet, Gilbert, Macario-Rat, Peyrin, Robshaw and Seurin, for a 64-byte
//! message.
//!
//! Rule: "SHA-3 Proposal: ECHO": an AES of sixteen 128-bit words in place of sixteen bytes, whose
//! S-box is two rounds of the AES itself.

use crate::aes_word::{Bytes, Word, double, from_block, from_bytes, load, store, to_block, to_bytes};
use aes::Block;
use aes::hazmat::{Block8, cipher_round_par};
use core::array::from_fn;

/// Length of the message and of the digest, in bits.
const BITS: u32 = 512;
const ROUNDS: usize = 10;

/// Sixteen words, column by column, four to a column; in the halves the AES works on.
type State = [Block8; 2];

pub(crate) fn echo512(input: &[u8; 64]) -> [u8; 64] {
    let mut block = [0; 128];
    block[..64].copy_from_slice(input);
    block[64] = 0x80;
    block[110..112].copy_from_slice(&(BITS as u16).to_le_bytes());
    block[112..116].copy_from_slice(&BITS.to_le_bytes());
    let (words, _) = block.as_chunks();

    let chain = Word::new([[BITS, 0, 0, 0]]);
    let mut state = [Block8::from_fn(|_| to_block(chain)), Block8::from_fn(|i| Block::from(words[i]))];
    // The key counts on from the number of message bits hashed, once for every word.
    let mut counter = BITS;
    for _ in 0..ROUNDS {
        sub_words(&mut state, counter);
        counter += 16;
        state = shift_rows_and_mix_columns(&state);
    }

    let mut digest = [0; 64];
    for (i, bytes) in digest.as_chunks_mut().0.iter_mut().enumerate() {
        let output = from_block(&state[0][i]) ^ from_block(&state[1][i]);
        *bytes = to_bytes(chain ^ from_bytes(&words[i]) ^ output);
    }
    digest
}

/// Two AES rounds on each word: one under the counter, one under the salt, which is zero.
#[inline(always)]
fn sub_words(state: &mut State, counter: u32) {
    for (half, counter) in state.iter_mut().zip([counter, counter + 8]) {
        let keys = Block8::from_fn(|i| to_block(Word::new([[counter + i as u32, 0, 0, 0]])));
        cipher_round_par(half, &keys);
        cipher_round_par(half, &Block8::default());
    }
}

/// ShiftRows of whole words, then MixColumns on each byte position of a column of words.
#[inline(always)]
fn shift_rows_and_mix_columns(state: &State) -> State {
    let column = |column: usize| {
        let [a, b, c, d]: [Bytes; 4] = from_fn(|row| {
            let column = (column + row) % 4;
            load(&state[column / 2][column % 2 * 4 + row])
        });
        let (ab, bc, cd) = (a ^ b, b ^ c, c ^ d);
        let (ab2, bc2, cd2) = (double(ab), double(bc), double(cd));
        [ab2 ^ bc ^ d, bc2 ^ a ^ cd, cd2 ^ ab ^ d, ab2 ^ bc2 ^ cd2 ^ ab ^ c]
    };
    let columns = [column(0), column(1), column(2), column(3)];
    from_fn(|half| Block8::from_fn(|i| store(columns[2 * half + i / 4][i % 4])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "ec6e7384fa2c16f125a736f57c936d07044a0ac2ebb3ef4adc2775168f94f7a8"
            "37dc5125aad549f02af856c19198f0e70f329cade4c319b6ec91c5fc82b6eeb9"
        );
        assert_eq!(echo512(&KAT_MESSAGE), digest);
    }
}
