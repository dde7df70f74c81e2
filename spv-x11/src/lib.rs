//! X11, the proof-of-work hash of Dash block headers, in safe Rust.
//!
//! X11 chains eleven functions of the SHA-3 competition, each with 512 bits of output:
//!
//! ```text
//!  input ─► BLAKE ─► Blue Midnight Wish ─► Grøstl ─► Skein ─► JH ─► Keccak ─► Luffa
//!                                                                               │
//!                      first 32 bytes ◄─ ECHO ◄─ SIMD ◄─ SHAvite-3 ◄─ CubeHash ◄┘
//! ```
//!
//! The first hashes the input, every other one the 64 bytes before it. The rule is `HashX11` in `src/hash_x11.h` of
//! Dash Core; each function in the version of its last round in the competition.
//!
//! The X11 of the 80 bytes of a serialized header is the hash of the block: what the next header names as its
//! predecessor, and what its proof of work is measured by.
//!
//! # Example
//!
//! ```
//! use hex_literal::hex;
//!
//! // The first header of Dash's main chain.
//! let mut header = [0; 80];
//! header[0..4].copy_from_slice(&1u32.to_le_bytes()); // version
//! // 4..36, the hash of the previous block, stays zero
//! let mut merkle_root = hex!("e0028eb9648db56b1ac77cf090b99048a8007e2bb64b68f092c03c7f56a662c7");
//! merkle_root.reverse(); // from display order
//! header[36..68].copy_from_slice(&merkle_root);
//! header[68..72].copy_from_slice(&1390095618u32.to_le_bytes()); // time
//! header[72..76].copy_from_slice(&0x1e0ffff0u32.to_le_bytes()); // bits
//! header[76..80].copy_from_slice(&28917698u32.to_le_bytes()); // nonce
//!
//! let mut hash = spv_x11::x11(&header);
//! hash.reverse(); // to display order
//! assert_eq!(hash, hex!("00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6"));
//! ```
//!
//! # Byte order
//!
//! The result is in internal order: as it stands in headers and messages of the network, and the little-endian number
//! that is compared with the target. User interfaces and the RPC of Dash Core display a block hash with its bytes
//! reversed.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | none | | |
//!
//! # Errors
//!
//! None: every input has a hash.
//!
//! # Bounds
//!
//! * `no_std`, no allocation, no unsafe code.
//! * Time: about 5 microseconds for a header on an idle core of 3.95 GHz with AES instructions, twice as fast as the C
//!   code (`docs/benchmarks.md` in the repository). SHAvite-3 and ECHO use the processor's AES instruction where there
//!   is one, found at run time; without it a hash takes about four times as long.
//! * X11 is no general-purpose hash: some of its parts have seen little analysis since the competition. Use it for what
//!   Dash uses it for.
//!
//! # Minimum Rust version
//!
//! 1.90. Raising it is a minor change.
//!
//! # See also
//!
//! * [`spv-headers`](https://docs.rs/spv-headers): the chain of headers.
//! * `docs/glossary.md` in the repository: the terms of this project.
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

/// The X11 hash of `input`, in internal byte order.
///
/// For a block hash, `input` is the serialized header, 80 bytes. X11 itself is defined for any
/// length. The [crate documentation](crate) has an example.
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
    hash.as_chunks().0[0]
}

/// The message of `Len = 512` in the `ShortMsgKAT` files of all SHA-3 submissions. The digests in
/// the known-answer tests were computed with sphlib.
#[cfg(test)]
const KAT_MESSAGE: [u8; 64] = hex_literal::hex!(
    "e926ae8b0af6e53176dbffcc2a6b88c6bd765f939d3d178a9bde9ef3aa131c61"
    "e31c1e42cdfaf4b4dcde579a37e150efbef5555b4c1cb40439d835a724e2fae7"
);
