//! 32-bit words handled side by side, four to a vector register.
//!
//! Four is what every 64-bit target has without a run-time test: SSE2, NEON. The vector type is
//! explicit because the compiler does not find the vectors by itself in rounds this deep.

use core::array::from_fn;
use core::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};
use wide::u32x4;

/// `4 * Q` words.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<const Q: usize>([u32x4; Q]);

/// The operations of [`Lanes`] on each word; a single word has them as well.
pub(crate) trait Words:
    Copy + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    fn rotate_left(self, bits: u32) -> Self;
}

impl Words for u32 {
    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        u32::rotate_left(self, bits)
    }
}

impl<const Q: usize> Words for Lanes<Q> {
    #[inline(always)]
    fn rotate_left(self, bits: u32) -> Self {
        (self << bits) | (self >> (32 - bits))
    }
}

impl<const Q: usize> Lanes<Q> {
    pub(crate) const ZERO: Self = Self([u32x4::new([0; 4]); Q]);

    pub(crate) const fn new(words: [[u32; 4]; Q]) -> Self {
        let mut lanes = Self::ZERO;
        let mut i = 0;
        while i < Q {
            lanes.0[i] = u32x4::new(words[i]);
            i += 1;
        }
        lanes
    }

    /// The words `word(0)`, `word(1)` and so on.
    #[inline(always)]
    pub(crate) fn from_fn(mut word: impl FnMut(usize) -> u32) -> Self {
        Self(from_fn(|q| u32x4::new(from_fn(|i| word(4 * q + i)))))
    }

    pub(crate) fn words(self) -> impl Iterator<Item = u32> {
        self.0.into_iter().flat_map(u32x4::to_array)
    }

    /// Swaps the words whose indices differ exactly in the bits of `mask`.
    ///
    /// `Q` must be a power of two and `mask` a constant below `4 * Q`.
    #[inline(always)]
    pub(crate) fn swap(self, mask: usize) -> Self {
        Self(from_fn(|q| {
            let [a, b, c, d] = self.0[(q ^ (mask / 4)) % Q].to_array();
            u32x4::new(match mask % 4 {
                0 => [a, b, c, d],
                1 => [b, a, d, c],
                2 => [c, d, a, b],
                _ => [d, c, b, a],
            })
        }))
    }
}

impl Lanes<1> {
    #[inline(always)]
    pub(crate) fn first(self) -> u32 {
        self.to_array()[0]
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [u32; 4] {
        self.0[0].to_array()
    }
}

impl<const Q: usize> Add for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|q| self.0[q] + other.0[q]))
    }
}

impl<const Q: usize> BitAnd for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(from_fn(|q| self.0[q] & other.0[q]))
    }
}

impl<const Q: usize> BitOr for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(from_fn(|q| self.0[q] | other.0[q]))
    }
}

impl<const Q: usize> BitXor for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(from_fn(|q| self.0[q] ^ other.0[q]))
    }
}

impl<const Q: usize> Not for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(self.0.map(|x| x ^ u32x4::new([!0; 4])))
    }
}

impl<const Q: usize> Sub for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(from_fn(|q| self.0[q] - other.0[q]))
    }
}

impl<const Q: usize> Shl<u32> for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(self.0.map(|x| x << bits))
    }
}

impl<const Q: usize> Shr<u32> for Lanes<Q> {
    type Output = Self;
    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(self.0.map(|x| x >> bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_exchanges_by_the_bits_of_the_mask() {
        let lanes = Lanes::<4>::from_fn(|i| i as u32);
        for mask in 0..16 {
            assert!(lanes.swap(mask).words().eq((0..16).map(|i| i ^ mask as u32)), "mask {mask}");
        }
    }

    #[test]
    fn rotation_keeps_every_bit() {
        let lanes = Lanes::<1>::new([[0x80000001, 0x12345678, 0, !0]]);
        assert_eq!(lanes.rotate_left(4).to_array(), [0x18, 0x23456781, 0, !0]);
    }
}
