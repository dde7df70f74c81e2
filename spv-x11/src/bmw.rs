//! Blue Midnight Wish-512 with the tweak of the second round, by Gligoroski, Klima, Knapskog,
//! El-Hadedy, Amundsen and Mjølsnes, for a 64-byte message.
//!
//! Rule: "Cryptographic Hash Function BLUE MIDNIGHT WISH", submission of September 2009. The names
//! `f0`, `f1` and `f2` are the specification's.

use core::array::from_fn;

pub(crate) fn bmw512(input: &[u8; 64]) -> [u8; 64] {
    let mut message = [0; 16];
    for (word, bytes) in message.iter_mut().zip(input.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    message[8] = 0x80;
    message[15] = 512;

    // Bytes 0x80 to 0xff, read as big-endian words.
    let iv = from_fn(|i| 0x8081828384858687 + i as u64 * 0x0808080808080808);
    let chain = compress(&message, &iv);
    // The finalization hashes the chaining value under a constant.
    let finalizer = from_fn(|i| 0xaaaaaaaaaaaaaaa0 + i as u64);
    let output = compress(&chain, &finalizer);

    let mut digest = [0; 64];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(&output[8..]) {
        *bytes = word.to_le_bytes();
    }
    digest
}

fn compress(m: &[u64; 16], h: &[u64; 16]) -> [u64; 16] {
    f2(m, &f1(m, h, f0(m, h)))
}

#[inline(always)]
fn s0(x: u64) -> u64 {
    (x >> 1) ^ (x << 3) ^ x.rotate_left(4) ^ x.rotate_left(37)
}

#[inline(always)]
fn s1(x: u64) -> u64 {
    (x >> 1) ^ (x << 2) ^ x.rotate_left(13) ^ x.rotate_left(43)
}

#[inline(always)]
fn s2(x: u64) -> u64 {
    (x >> 2) ^ (x << 1) ^ x.rotate_left(19) ^ x.rotate_left(53)
}

#[inline(always)]
fn s3(x: u64) -> u64 {
    (x >> 2) ^ (x << 2) ^ x.rotate_left(28) ^ x.rotate_left(59)
}

#[inline(always)]
fn s4(x: u64) -> u64 {
    (x >> 1) ^ x
}

#[inline(always)]
fn s5(x: u64) -> u64 {
    (x >> 2) ^ x
}

/// The bijective mix of message and chaining value.
#[inline(always)]
fn f0(m: &[u64; 16], h: &[u64; 16]) -> [u64; 16] {
    let x: [u64; 16] = from_fn(|i| m[i] ^ h[i]);
    let sum = |plus: &[usize], minus: &[usize]| {
        let plus = plus.iter().fold(0u64, |sum, &i| sum.wrapping_add(x[i]));
        minus.iter().fold(plus, |sum, &i| sum.wrapping_sub(x[i]))
    };
    [
        s0(sum(&[5, 10, 13, 14], &[7])).wrapping_add(h[1]),
        s1(sum(&[6, 11, 14], &[8, 15])).wrapping_add(h[2]),
        s2(sum(&[0, 7, 9, 15], &[12])).wrapping_add(h[3]),
        s3(sum(&[0, 8, 13], &[1, 10])).wrapping_add(h[4]),
        s4(sum(&[1, 2, 9], &[11, 14])).wrapping_add(h[5]),
        s0(sum(&[3, 10, 15], &[2, 12])).wrapping_add(h[6]),
        s1(sum(&[4, 13], &[0, 3, 11])).wrapping_add(h[7]),
        s2(sum(&[1], &[4, 5, 12, 14])).wrapping_add(h[8]),
        s3(sum(&[2, 13], &[5, 6, 15])).wrapping_add(h[9]),
        s4(sum(&[0, 6, 14], &[3, 7])).wrapping_add(h[10]),
        s0(sum(&[8, 15], &[1, 4, 7])).wrapping_add(h[11]),
        s1(sum(&[8, 9], &[0, 2, 5])).wrapping_add(h[12]),
        s2(sum(&[1, 3, 10], &[6, 9])).wrapping_add(h[13]),
        s3(sum(&[2, 4, 7, 10, 11], &[])).wrapping_add(h[14]),
        s4(sum(&[3, 8], &[5, 11, 12])).wrapping_add(h[15]),
        s0(sum(&[12, 13], &[4, 6, 9])).wrapping_add(h[0]),
    ]
}

/// The multipermutation: sixteen more words, each from the sixteen before it.
#[inline(always)]
fn f1(m: &[u64; 16], h: &[u64; 16], half: [u64; 16]) -> [u64; 32] {
    let mut q = [0; 32];
    q[..16].copy_from_slice(&half);

    let rotated: [u64; 16] = from_fn(|i| m[i].rotate_left(i as u32 + 1));
    let element = |i: usize| {
        rotated[i]
            .wrapping_add(rotated[(i + 3) % 16])
            .wrapping_sub(rotated[(i + 10) % 16])
            .wrapping_add((i as u64 + 16).wrapping_mul(0x0555555555555555))
            ^ h[(i + 7) % 16]
    };

    // The first two words take the expensive, strongly mixing rule, the rest the cheap one.
    for i in 0..2 {
        let mut sum = element(i);
        for j in (i..i + 16).step_by(4) {
            sum = sum
                .wrapping_add(s1(q[j]))
                .wrapping_add(s2(q[j + 1]))
                .wrapping_add(s3(q[j + 2]))
                .wrapping_add(s0(q[j + 3]));
        }
        q[i + 16] = sum;
    }
    for i in 2..16 {
        q[i + 16] = element(i)
            .wrapping_add(q[i])
            .wrapping_add(q[i + 1].rotate_left(5))
            .wrapping_add(q[i + 2])
            .wrapping_add(q[i + 3].rotate_left(11))
            .wrapping_add(q[i + 4])
            .wrapping_add(q[i + 5].rotate_left(27))
            .wrapping_add(q[i + 6])
            .wrapping_add(q[i + 7].rotate_left(32))
            .wrapping_add(q[i + 8])
            .wrapping_add(q[i + 9].rotate_left(37))
            .wrapping_add(q[i + 10])
            .wrapping_add(q[i + 11].rotate_left(43))
            .wrapping_add(q[i + 12])
            .wrapping_add(q[i + 13].rotate_left(53))
            .wrapping_add(s4(q[i + 14]))
            .wrapping_add(s5(q[i + 15]));
    }
    q
}

/// The folding of the 32 words and the message into the new chaining value.
#[inline(always)]
fn f2(m: &[u64; 16], q: &[u64; 32]) -> [u64; 16] {
    let low = q[16..24].iter().fold(0, |all, word| all ^ word);
    let high = q[24..].iter().fold(low, |all, word| all ^ word);

    let first = |i: usize, mixed: u64| (mixed ^ m[i]).wrapping_add(low ^ q[i + 24] ^ q[i]);
    let h: [u64; 8] = [
        first(0, (high << 5) ^ (q[16] >> 5)),
        first(1, (high >> 7) ^ (q[17] << 8)),
        first(2, (high >> 5) ^ (q[18] << 5)),
        first(3, (high >> 1) ^ (q[19] << 5)),
        first(4, (high >> 3) ^ q[20]),
        first(5, (high << 6) ^ (q[21] >> 6)),
        first(6, (high >> 4) ^ (q[22] << 6)),
        first(7, (high >> 11) ^ (q[23] << 2)),
    ];
    let second = |i: usize, mixed: u64| {
        h[(i + 4) % 8]
            .rotate_left(i as u32 + 9)
            .wrapping_add(high ^ q[i + 24] ^ m[i + 8])
            .wrapping_add(mixed ^ q[16 + (i + 7) % 8] ^ q[i + 8])
    };
    [
        h[0],
        h[1],
        h[2],
        h[3],
        h[4],
        h[5],
        h[6],
        h[7],
        second(0, low << 8),
        second(1, low >> 6),
        second(2, low << 6),
        second(3, low << 4),
        second(4, low >> 3),
        second(5, low >> 4),
        second(6, low >> 7),
        second(7, low >> 2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KAT_MESSAGE;
    use hex_literal::hex;

    #[test]
    fn known_answer() {
        let digest = hex!(
            "548d7a65d8beebe56c466da17f8dd80722a7a2a59352465a150f58c1cdc75e80"
            "49f5734ea16f32f5ce5b339cdfd99d930d20a6b8655b6f20de4e7e7438c405e8"
        );
        assert_eq!(bmw512(&KAT_MESSAGE), digest);
    }
}
