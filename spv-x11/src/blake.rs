//! BLAKE-512, the SHA-3 finalist of Aumasson, Henzen, Meier and Phan with the 16 rounds of its
//! final-round tweak.
//!
//! Rule: "SHA-3 proposal BLAKE", version 1.3, section 2.2. The only function of the chain whose
//! input is not 64 bytes long, so the only one here with a general padding.

/// The initial value of SHA-512.
const IV: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

/// The leading fractional digits of pi.
const PI: [u64; 16] = [
    0x243f6a8885a308d3,
    0x13198a2e03707344,
    0xa4093822299f31d0,
    0x082efa98ec4e6c89,
    0x452821e638d01377,
    0xbe5466cf34e90c6c,
    0xc0ac29b7c97c50dd,
    0x3f84d5b5b5470917,
    0x9216d5d98979fb1b,
    0xd1310ba698dfb5ac,
    0x2ffd72dbd01adfb7,
    0xb8e1afed6a267e96,
    0xba7c9045f12c7f99,
    0x24a19947b3916cf7,
    0x0801f2e2858efc16,
    0x636920d871574e69,
];

/// Message word order of each round; round `r` uses row `r % 10`.
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];

const BLOCK: usize = 128;
/// The offset of the 128-bit message length in the last block.
const LENGTH_AT: usize = BLOCK - 16;

pub(crate) fn blake512(input: &[u8]) -> [u8; 64] {
    let mut h = IV;
    let (blocks, rest) = input.as_chunks::<BLOCK>();
    let mut bits = 0u128;
    for block in blocks {
        bits += 8 * BLOCK as u128;
        compress(&mut h, block, bits);
    }

    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    // The counter tells how many message bits were hashed so far, and is zero for a block that
    // holds none.
    let total = bits + 8 * rest.len() as u128;
    let mut counter = if rest.is_empty() { 0 } else { total };
    if rest.len() >= LENGTH_AT {
        compress(&mut h, &last, counter);
        last = [0; BLOCK];
        counter = 0;
    }
    last[LENGTH_AT - 1] |= 1;
    last[LENGTH_AT..].copy_from_slice(&total.to_be_bytes());
    compress(&mut h, &last, counter);

    let mut digest = [0; 64];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(h) {
        *bytes = word.to_be_bytes();
    }
    digest
}

fn compress(h: &mut [u64; 8], block: &[u8; BLOCK], counter: u128) {
    let mut m = [0; 16];
    for (word, bytes) in m.iter_mut().zip(block.as_chunks().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    let (low, high) = (counter as u64, (counter >> 64) as u64);

    let mut v = [0; 16];
    v[..8].copy_from_slice(h);
    v[8..].copy_from_slice(&PI[..8]);
    v[12] ^= low;
    v[13] ^= low;
    v[14] ^= high;
    v[15] ^= high;

    // Sixteen calls with a constant row each, so that every message index is a constant.
    round::<0>(&mut v, &m);
    round::<1>(&mut v, &m);
    round::<2>(&mut v, &m);
    round::<3>(&mut v, &m);
    round::<4>(&mut v, &m);
    round::<5>(&mut v, &m);
    round::<6>(&mut v, &m);
    round::<7>(&mut v, &m);
    round::<8>(&mut v, &m);
    round::<9>(&mut v, &m);
    round::<0>(&mut v, &m);
    round::<1>(&mut v, &m);
    round::<2>(&mut v, &m);
    round::<3>(&mut v, &m);
    round::<4>(&mut v, &m);
    round::<5>(&mut v, &m);

    for (i, word) in h.iter_mut().enumerate() {
        *word ^= v[i] ^ v[i + 8];
    }
}

#[inline(always)]
fn round<const ROW: usize>(v: &mut [u64; 16], m: &[u64; 16]) {
    mix::<ROW, 0>(v, m, [0, 4, 8, 12]);
    mix::<ROW, 1>(v, m, [1, 5, 9, 13]);
    mix::<ROW, 2>(v, m, [2, 6, 10, 14]);
    mix::<ROW, 3>(v, m, [3, 7, 11, 15]);
    mix::<ROW, 4>(v, m, [0, 5, 10, 15]);
    mix::<ROW, 5>(v, m, [1, 6, 11, 12]);
    mix::<ROW, 6>(v, m, [2, 7, 8, 13]);
    mix::<ROW, 7>(v, m, [3, 4, 9, 14]);
}

/// The function G of the specification.
#[inline(always)]
fn mix<const ROW: usize, const I: usize>(v: &mut [u64; 16], m: &[u64; 16], [a, b, c, d]: [usize; 4]) {
    let (x, y) = (SIGMA[ROW][2 * I], SIGMA[ROW][2 * I + 1]);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(m[x] ^ PI[y]);
    v[d] = (v[d] ^ v[a]).rotate_right(32);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(25);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(m[y] ^ PI[x]);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(11);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "ec1270cb5c96df2106a9c4f694ad6dc8d83a8ae1c375b613a447b95e2a09e76d"
            "1a32c73cae58ef8c6822ad7ba50aabba00f01de11ac3606fabb67fadbb5be530"
        );
        assert_eq!(blake512(&KAT_MESSAGE), digest);
    }

    /// The two examples of the specification's appendix: one zero byte, and 144 of them.
    #[test]
    fn examples_of_the_specification() {
        let one = hex!(
            "97961587f6d970faba6d2478045de6d1fabd09b61ae50932054d52bc29d31be4"
            "ff9102b9f69e2bbdb83be13d4b9c06091e5fa0b48bd081b634058be0ec49beb3"
        );
        assert_eq!(blake512(&[0]), one);
        let two_blocks = hex!(
            "313717d608e9cf758dcb1eb0f0c3cf9fc150b2d500fb33f51c52afc99d358a2f"
            "1374b8a38bba7974e7f6ef79cab16f22ce1e649d6e01ad9589c213045d545dde"
        );
        assert_eq!(blake512(&[0; 144]), two_blocks);
    }

    #[test]
    fn empty_message() {
        let digest = hex!(
            "a8cfbbd73726062df0c6864dda65defe58ef0cc52a5625090fa17601e1eecd1b"
            "628e94f396ae402a00acc9eab77b4d4c2e852aaaa25a636d80af3fc7913ef5b8"
        );
        assert_eq!(blake512(&[]), digest);
    }

    /// Around the lengths where the padding changes shape; the message is 0, 1, 2 and so on, the
    /// digests are those of sphlib.
    #[test]
    fn padding() {
        let message: [u8; 200] = core::array::from_fn(|i| i as u8);
        let digests = [
            (
                111,
                hex!(
                    "5329f386033ff4492299d9a893f8ec8e8c7ed9e5fb24a74d2a018fcf7378edc2"
                    "5840a2df487707f02819a5822c1ef203ee41b1595fcd330edee15a7c3c0d82af"
                ),
            ),
            (
                112,
                hex!(
                    "55deffdbf43d5940ec59ea0670940f8ae1015b0c03a1ca920ffaa28cb44687f4"
                    "413c38a91ae49d7cc01625c1c840fcb3e913a7ad6b08c43fb15b2c3f0ecd8b52"
                ),
            ),
            (
                128,
                hex!(
                    "d8501cdaf83ff9159d68e065b4d112bf2e96c570d2eae9eeddcf44f62fa22114"
                    "8d2d53722b58778ad681fc8a441ded46fd9e9eb8c58b6e35aa635c7ae0e028f0"
                ),
            ),
            (
                200,
                hex!(
                    "e327afcd4b6113e8f9571f030f60b4b85ea29df58c35ac1d0daceefe9edb17c6"
                    "ce5a8bf5934214da6a3746f72c8b96cfce9625f4edf157408d67a6d3071d5980"
                ),
            ),
        ];
        for (length, digest) in digests {
            assert_eq!(blake512(&message[..length]), digest, "{length} bytes");
        }
    }
}
