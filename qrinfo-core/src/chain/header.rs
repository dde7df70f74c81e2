//! Block headers and the work they prove.

use bytes::BufMut;

use crate::{
    chain::{BlockHash, Hash256},
    wire::{DecodeError, Reader, Wire},
};

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 80;

/// A block header in its wire bytes.
///
/// Its hash is X11 of these bytes, which this crate does not compute.
#[derive(Clone, Copy, PartialEq, Eq, Hash, derive_more::Debug)]
#[debug("BlockHeader {{ prev: {}, time: {}, bits: {:#010x} }}", self.prev_block_hash(), self.time(), self.bits())]
pub struct BlockHeader([u8; HEADER_LEN]);

impl BlockHeader {
    /// Takes the bytes of the wire.
    pub const fn from_bytes(bytes: [u8; HEADER_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the wire.
    pub const fn as_bytes(&self) -> &[u8; HEADER_LEN] {
        &self.0
    }

    /// The hash of the block before this one.
    pub fn prev_block_hash(&self) -> BlockHash {
        BlockHash::from_bytes(self.field(4))
    }

    /// The merkle root of the block's transactions.
    pub fn merkle_root(&self) -> Hash256 {
        Hash256::from_bytes(self.field(36))
    }

    /// Time at which the block was mined, in seconds since 1970, by its miner's clock.
    pub fn time(&self) -> u32 {
        u32::from_le_bytes(self.field(68))
    }

    /// The target below which the hash must lie, in compact form (`nBits`).
    pub fn bits(&self) -> u32 {
        u32::from_le_bytes(self.field(72))
    }

    /// `N` bytes at an offset that is a constant of this file.
    pub(crate) fn field<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        for (to, from) in field.iter_mut().zip(self.0.iter().skip(offset)) {
            *to = *from;
        }
        field
    }
}

impl Wire for BlockHeader {
    const MIN_SIZE: usize = HEADER_LEN;

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.array("header")?))
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
    }
}

/// The number that a header's hash must not exceed.
///
/// ```
/// use qrinfo_core::{Network, Target};
///
/// // The genesis block of mainnet: nBits 0x1e0ffff0.
/// let target = Target::from_bits(0x1e0f_fff0).ok_or("no target")?;
/// assert!(target.is_met_by(&Network::Mainnet.genesis_hash()));
/// assert!(target <= Network::Mainnet.easiest_target());
/// assert_eq!(target.work(), 1_048_592);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// Big-endian, so that the derived order is the numbers' order.
    bytes: [u8; 32],
}

impl Target {
    /// Reads the compact form: one byte of length, three bytes of leading digits.
    ///
    /// `None` for a form that stands for zero, for a negative number, or for one beyond 256 bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        let [length, high, middle, low] = bits.to_be_bytes();
        if high & 0x80 != 0 {
            return None;
        }
        let mut bytes = [0; 32];
        for (position, digit) in [(1, high), (2, middle), (3, low)] {
            // The first digit is the length-th byte from the right; digits below the point fall away.
            let Some(from_right) = usize::from(length).checked_sub(position) else { continue };
            match bytes.iter_mut().rev().nth(from_right) {
                Some(byte) => *byte = digit,
                None if digit != 0 => return None,
                None => {}
            }
        }
        (bytes != [0; 32]).then_some(Self { bytes })
    }

    /// The target whose bits from the left are `zeros` zeros, at most 255, and then ones.
    pub(crate) const fn with_leading_zeros(zeros: usize) -> Self {
        let mut bytes = [0xff; 32];
        let mut index = 0;
        while index <= zeros / 8 {
            bytes[index] = if index < zeros / 8 { 0 } else { 0xff >> (zeros % 8) };
            index += 1;
        }
        Self { bytes }
    }

    /// Returns true if a header with this hash meets the target.
    pub fn is_met_by(&self, hash: &BlockHash) -> bool {
        let mut number = *hash.as_bytes();
        number.reverse();
        number <= self.bytes
    }

    /// Returns the average number of hashes that it takes to meet this target: 2^256 / (target + 1). `u128::MAX` for
    /// targets below 2^168, which no chain has.
    pub fn work(&self) -> u128 {
        // The compact form has three digits; behind them are zeros, so five digits say all.
        const DIGITS: usize = 5;
        let zeros = self.bytes.iter().take_while(|&&byte| byte == 0).count();
        let digits = self.bytes.iter().skip(zeros).chain(std::iter::repeat(&0)).take(DIGITS);
        let leading = digits.fold(0_u128, |number, &digit| 256 * number + u128::from(digit));
        match u32::try_from(8 * (DIGITS + zeros)) {
            Ok(shift) if shift < 128 => ((1_u128 << shift) - 1) / leading.max(1),
            _ => u128::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_forms_that_are_no_target_are_refused() {
        for bits in [0, 0x1e80_0000, 0x0000_ffff, 0x2200_0100, 0x2200_01ff, 0xff00_0001, 0x2300_00ff] {
            assert_eq!(Target::from_bits(bits), None, "{bits:#x}");
        }
    }

    #[test]
    fn zeros_beyond_256_bits_are_no_digits() {
        let first = |bits| Target::from_bits(bits).map(|target| target.bytes[..2].to_vec());
        assert_eq!(first(0x2200_00ff), Some(vec![0xff, 0]));
        assert_eq!(first(0x2100_ffff), Some(vec![0xff, 0xff]));
    }

    #[test]
    fn a_hash_equal_to_its_target_meets_it_and_the_next_one_does_not() {
        let target = Target::from_bits(0x207f_ffff).unwrap();
        let mut hash = [0; 32];
        hash[29..].copy_from_slice(&[0xff, 0xff, 0x7f]);
        assert!(target.is_met_by(&BlockHash::from_bytes(hash)));
        hash[0] = 1;
        assert!(!target.is_met_by(&BlockHash::from_bytes(hash)));
    }

    #[test]
    fn work_is_the_expected_number_of_hashes() {
        let work = |bits| Target::from_bits(bits).unwrap().work();
        assert_eq!(work(0x207f_ffff), 2);
        assert_eq!(work(0x1d00_ffff), 0x1_0001_0001);
        assert_eq!(work(0x1e0f_ffff), 1_048_577);
        assert_eq!(work(0x1e10_0000), 1_048_575);
        assert_eq!(work(0x1601_0000), (1 << 88) - 1);
        assert_eq!(work(0x1501_0000), u128::MAX);
    }

    #[test]
    fn targets_are_ordered_as_numbers() {
        assert_eq!(Target::with_leading_zeros(20).bytes[..4], [0, 0, 0x0f, 0xff]);
        assert_eq!(Target::with_leading_zeros(1).bytes[..2], [0x7f, 0xff]);
        assert!(Target::from_bits(0x1e0f_fff0).unwrap() < Target::with_leading_zeros(20));
        assert!(Target::from_bits(0x1e10_0000).unwrap() > Target::with_leading_zeros(20));
    }
}
