//! X11
#![no_std]
#![forbid(unsafe_code)]

mod aes_word;
mod blake;
mod bmw;
mod cubehash;
mod echo;
mod lanes;
mod luffa;
mod shavite;
mod simd;
mod skein;

use groestl::Groestl512;
use jh::Jh512;
use sha3::{Digest, Keccak512};

/// X11
#[must_use]
pub fn x11(input: &[u8]) -> [u8; 32] {
    let hash = blake::blake512(input);
    let hash = bmw::bmw512(&hash);
    let hash = Groestl512::digest(hash).0;
    let hash = skein::skein512(&hash);
    let hash = Jh512::digest(hash).0;
    let hash = Keccak512::digest(hash).0;
    let hash = luffa::luffa512(&hash);
    let hash = cubehash::cubehash512(&hash);
    let hash = shavite::shavite512(&hash);
    let hash = simd::simd512(&hash);
    let hash = echo::echo512(&hash);
    *hash.first_chunk().unwrap_or(&[0; 32])
}
#[doc(hidden)]
pub mod t {
    pub fn f() -> [(&'static str, fn(&[u8; 64]) -> [u8; 64]); 9] {
        [
            ("blake", |i| crate::blake::blake512(i)),
            ("bmw", crate::bmw::bmw512),
            ("skein", crate::skein::skein512),
            ("luffa", crate::luffa::luffa512),
            ("cubehash", crate::cubehash::cubehash512),
            ("shavite", crate::shavite::shavite512),
            ("simd", crate::simd::simd512),
            ("echo", crate::echo::echo512),
            ("blake2", |i| {
                let mut x = [0x5au8; 80];
                x[..64].copy_from_slice(i);
                crate::blake::blake512(&x)
            }),
        ]
    }
}
