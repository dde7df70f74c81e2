//! `N` 32-bit words handled together.
//!
//! Every operation is a loop over a fixed-size array, the shape the compiler turns into vector
//! instructions of whatever width the target has.

use core::array::from_fn;
use core::ops::{Add, BitAnd, BitOr, BitXor, Not};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lanes<const N: usize>(pub(crate) [u32; N]);

impl<const N: usize> Lanes<N> {
    #[inline(always)]
    pub(crate) fn rotate_left(self, bits: u32) -> Self {
        Self(from_fn(|i| self.0[i].rotate_left(bits)))
    }

    /// Swaps the lanes whose indices differ exactly in the bits of `mask`.
    ///
    /// `N` must be a power of two above `mask`.
    #[inline(always)]
    pub(crate) fn swap(self, mask: usize) -> Self {
        Self(from_fn(|i| self.0[(i ^ mask) % N]))
    }
}

impl<const N: usize> Add for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i].wrapping_add(other.0[i])))
    }
}

impl<const N: usize> BitAnd for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn bitand(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] & other.0[i]))
    }
}

impl<const N: usize> BitOr for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl<const N: usize> BitXor for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn bitxor(self, other: Self) -> Self {
        Self(from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

impl<const N: usize> Not for Lanes<N> {
    type Output = Self;
    #[inline(always)]
    fn not(self) -> Self {
        Self(from_fn(|i| !self.0[i]))
    }
}
