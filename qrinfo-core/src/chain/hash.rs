//! Hashes and keys, kept in the byte order of the wire.
//!
//! Dash prints 256-bit hashes reversed. [`Display`](std::fmt::Display) and [`FromStr`] use that
//! printed order; [`from_bytes`](BlockHash::from_bytes) and [`as_bytes`](BlockHash::as_bytes) use the wire's.
//!
//! ```
//! use qrinfo_core::BlockHash;
//!
//! let hash: BlockHash = "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6".parse()?;
//! assert_eq!(hash.as_bytes()[0], 0xb6);
//! assert_eq!(hash.to_string(), "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6");
//! # Ok::<(), qrinfo_core::ParseHashError>(())
//! ```

use std::{fmt, str::FromStr};

use bytes::BufMut;
use sha2::{Digest, Sha256};

use crate::wire::{DecodeError, Reader, Wire};

/// A string that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hash is written as 64 hexadecimal digits; got {0:?}")]
pub struct ParseHashError(String);

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash whose 32 bytes are all zero.
            pub const ZERO: Self = Self([0; 32]);

            /// Takes 32 bytes in wire order.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes in wire order.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseHashError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_reversed(text).map(Self)
            }
        }

        impl Wire for $name {
            const MIN_SIZE: usize = 32;

            #[inline]
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.array(stringify!($name))?))
            }

            fn encode(&self, out: &mut impl BufMut) {
                out.put_slice(&self.0);
            }
        }
    };
}

hash_type! {
    /// The hash of a block's header (X11).
    BlockHash
}
hash_type! {
    /// The hash of a provider registration transaction: a masternode's identity.
    ProTxHash
}
hash_type! {
    /// The hash of the block at which a quorum's DKG started: a quorum's identity within its type.
    QuorumHash
}
hash_type! {
    /// A double SHA-256 with no type of its own: transaction ids, merkle nodes and roots, verification vectors.
    Hash256
}

fn parse_reversed(text: &str) -> Result<[u8; 32], ParseHashError> {
    let fail = || ParseHashError(text.chars().take(80).collect());
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(fail());
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().rev().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16).ok_or_else(fail);
        *byte = (16 * digit(0)? + digit(1)?) as u8;
    }
    Ok(bytes)
}

/// SHA-256 applied twice, as Dash hashes everything but headers.
///
/// ```
/// let empty = qrinfo_core::sha256d(b"");
/// assert_eq!(empty[..4], [0x5d, 0xf6, 0xe0, 0xe2]);
/// ```
pub fn sha256d(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(Sha256::digest(bytes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_that_is_not_64_digits_is_refused() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            assert!(text.parse::<BlockHash>().is_err(), "{text}");
        }
    }
}
