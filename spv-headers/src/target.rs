use std::cmp::Ordering;

use qrinfo_core::{BlockHeader, Network};

/// The number of headers from which the next target follows (Dark Gravity Wave 3).
pub(crate) const WINDOW: usize = 24;

/// The aimed time between two blocks, in seconds.
const SPACING: i64 = 150;

/// On testnet a block this many seconds after the one before it may have the easiest target.
const LONG_PAUSE: i64 = 2 * 60 * 60;

/// The easiest target of mainnet and testnet, 2^236 - 1, in compact form.
const EASIEST_BITS: u32 = 0x1e0f_ffff;

/// The fields of a header from which targets follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The block's time, in seconds since 1970.
    pub(crate) time: u32,
    /// Its target in compact form.
    pub(crate) bits: u32,
}

/// The newest headers of a chain, the last 24 of which decide the next target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Window(Vec<Pace>);

// === impl Pace ===

impl From<&BlockHeader> for Pace {
    fn from(header: &BlockHeader) -> Self {
        Self { time: header.time(), bits: header.bits() }
    }
}

// === impl Window ===

impl Window {
    pub(crate) fn push(&mut self, pace: Pace) {
        if self.0.len() >= 2 * WINDOW {
            self.0.drain(..WINDOW);
        }
        self.0.push(pace);
    }

    /// The only target in compact form that a header of this time may have after these, as in Dash Core's `pow.cpp`.
    ///
    /// `None` where no rule is known: on devnets and regtest, which do not retarget or by rules of their own, behind
    /// fewer than 24 headers, and at heights below that from which the network uses Dark Gravity Wave 3. All checkpoints
    /// lie above it.
    pub(crate) fn next_bits(&self, network: Network, height: u32, time: u32) -> Option<u32> {
        let newest = *self.0.last()?;
        let window = self.0.get(self.0.len().checked_sub(WINDOW)?..)?;
        match network {
            Network::Mainnet if height >= 34_140 => dark_gravity_wave(window),
            Network::Testnet if height >= 4_002 => match i64::from(time) - i64::from(newest.time) {
                pause if pause > LONG_PAUSE => Some(EASIEST_BITS),
                pause if pause > 4 * SPACING => Some(Number::from_bits(newest.bits)?.times(10)?.limited().to_bits()),
                _ => dark_gravity_wave(window),
            },
            _ => None,
        }
    }
}

impl FromIterator<Pace> for Window {
    fn from_iter<I: IntoIterator<Item = Pace>>(paces: I) -> Self {
        let mut window = Self::default();
        paces.into_iter().for_each(|pace| window.push(pace));
        window
    }
}

/// The mean of the targets of `window`, in which newer ones weigh less, scaled by the time that its blocks took.
fn dark_gravity_wave(window: &[Pace]) -> Option<u32> {
    let mut newest_first = window.iter().rev().map(|pace| Number::from_bits(pace.bits));
    let mut mean = newest_first.next()??;
    for (count, target) in (2..).zip(newest_first) {
        mean = mean.times(count)?.plus(target?)?.divided_by(count + 1);
    }
    let aimed = window.len() as i64 * SPACING;
    let taken = i64::from(window.last()?.time) - i64::from(window.first()?.time);
    let taken = u32::try_from(taken.clamp(aimed / 3, aimed * 3)).ok()?;
    Some(mean.times(taken)?.divided_by(u32::try_from(aimed).ok()?).limited().to_bits())
}

/// A number below 2^256: eight digits to the base 2^32, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number([u32; 8]);

// === impl Number ===

impl Number {
    /// Reads the compact form of a target that was judged before.
    fn from_bits(bits: u32) -> Option<Self> {
        let mut number = [0; 8];
        let [length, digits @ ..] = bits.to_be_bytes();
        for (from_left, digit) in (1..).zip(digits) {
            let Some(place) = usize::from(length).checked_sub(from_left) else { continue };
            *number.get_mut(place / 4)? |= u32::from(digit) << (8 * (place % 4));
        }
        Some(Self(number))
    }

    /// Writes the compact form. Digits beyond the third are cut off.
    fn to_bits(self) -> u32 {
        let bytes: Vec<u8> = self.0.iter().rev().flat_map(|digit| digit.to_be_bytes()).collect();
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let length = bytes.len() - zeros;
        let digit = |at: usize| bytes.get(zeros + at).copied().unwrap_or_default();
        // A first digit of 128 or more would read as a sign.
        match digit(0) {
            0x80.. => u32::from_be_bytes([length as u8 + 1, 0, digit(0), digit(1)]),
            _ => u32::from_be_bytes([length as u8, digit(0), digit(1), digit(2)]),
        }
    }

    fn times(self, factor: u32) -> Option<Self> {
        self.carry(|digit, carry| u64::from(digit) * u64::from(factor) + carry)
    }

    fn plus(self, other: Self) -> Option<Self> {
        let mut others = other.0.into_iter();
        self.carry(|digit, carry| u64::from(digit) + u64::from(others.next().unwrap_or_default()) + carry)
    }

    /// The result of `step` for each digit, the least first; `None` if it does not fit.
    fn carry(self, mut step: impl FnMut(u32, u64) -> u64) -> Option<Self> {
        let mut carry = 0;
        let digits = self.0.map(|digit| {
            let sum = step(digit, carry);
            carry = sum >> 32;
            sum as u32
        });
        (carry == 0).then_some(Self(digits))
    }

    fn divided_by(self, divisor: u32) -> Self {
        let mut rest = 0;
        let mut digits = self.0;
        for digit in digits.iter_mut().rev() {
            let dividend = rest << 32 | u64::from(*digit);
            *digit = (dividend / u64::from(divisor)) as u32;
            rest = dividend % u64::from(divisor);
        }
        Self(digits)
    }

    /// The number, but no more than 2^236 - 1, the easiest target of mainnet and testnet.
    fn limited(self) -> Self {
        const LIMIT: [u32; 8] = [u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, 0xfff];
        match self.0.iter().rev().cmp(LIMIT.iter().rev()) {
            Ordering::Greater => Self(LIMIT),
            Ordering::Less | Ordering::Equal => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::BufReader, path::Path};

    use proptest::prelude::*;
    use qrinfo_core::Target;

    use super::*;

    fn window(paces: &[(u32, u32)]) -> Window {
        paces.iter().map(|&(time, bits)| Pace { time, bits }).collect()
    }

    /// Twenty-four blocks at the aimed pace: the time taken is one spacing short of the aim.
    fn steady(bits: u32) -> Vec<(u32, u32)> {
        (0..24).map(|index| (1_000_000 + 150 * index, bits)).collect()
    }

    #[test]
    fn a_steady_chain_gets_harder_by_a_twenty_fourth_and_long_pauses_ease_testnet_alone() {
        let paces = steady(0x1c10_0000);
        let last = paces[23].0;
        let next = |network, pause| window(&paces).next_bits(network, 50_000, last + pause);
        // 23 of 24 spacings: 0x100000 * 23 / 24 = 0xf5555.
        for network in [Network::Mainnet, Network::Testnet] {
            assert_eq!(next(network, 600), Some(0x1c0f_5555), "{network}");
        }
        assert_eq!(next(Network::Mainnet, 100_000), Some(0x1c0f_5555));
        assert_eq!(next(Network::Testnet, 601), Some(0x1d00_a000));
        assert_eq!(next(Network::Testnet, 7_200), Some(0x1d00_a000));
        assert_eq!(next(Network::Testnet, 7_201), Some(EASIEST_BITS));
        assert_eq!(next(Network::Regtest, 150), None);
        assert_eq!(window(&paces).next_bits(Network::Mainnet, 34_139, last), None);
        assert_eq!(window(&paces[1..]).next_bits(Network::Mainnet, 50_000, last), None);
        // Times ten, but not above the easiest.
        assert_eq!(window(&steady(0x1e0f_0000)).next_bits(Network::Testnet, 50_000, last + 601), Some(EASIEST_BITS));
    }

    /// Real headers of testnet: each target follows from those before it, and another one is told.
    #[test]
    fn every_target_of_five_thousand_real_headers_follows() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/testnet/testnet_942249_947248.bin.xz");
        let Ok(file) = fs::File::open(&path) else {
            eprintln!("skipped: ../shared/vectors/testnet is not there");
            return;
        };
        let mut bytes = Vec::new();
        lzma_rs::xz_decompress(&mut BufReader::new(file), &mut bytes).unwrap();
        let (headers, rest) = bytes.as_chunks::<80>();
        assert_eq!((headers.len(), rest.len()), (5_000, 0));
        let (mut window, mut derived, mut eased) = (Window::default(), 0, 0);
        for (height, header) in (942_249..).zip(headers) {
            let header = BlockHeader::from_bytes(*header);
            if let Some(bits) = window.next_bits(Network::Testnet, height, header.time()) {
                assert_eq!(format!("{bits:08x}"), format!("{:08x}", header.bits()), "height {height}");
                derived += 1;
                eased += u32::from(window.next_bits(Network::Mainnet, height, header.time()) != Some(bits));
            }
            window.push(Pace::from(&header));
        }
        // Some of them by the rule for long pauses.
        assert_eq!(derived, 5_000 - 24);
        assert!(eased > 0, "{eased}");
    }

    proptest! {
        #[test]
        fn numbers_agree_with_u128(a in 0..u128::MAX >> 40, b in 0..u128::MAX >> 40, small in 1..u32::MAX) {
            let number = |n: u128| Number([n as u32, (n >> 32) as u32, (n >> 64) as u32, (n >> 96) as u32, 0, 0, 0, 0]);
            prop_assert_eq!(number(a).plus(number(b)), Some(number(a + b)));
            prop_assert_eq!(number(a).divided_by(small), number(a / u128::from(small)));
            prop_assert_eq!(number(a).times(small & 0xffff), Some(number(a * u128::from(small & 0xffff))));
        }

        #[test]
        fn compact_forms_read_as_the_target_does(mantissa in 1_u32..0x80_0000, length in 1_u32..30) {
            let bits = length << 24 | mantissa;
            let Some(target) = Target::from_bits(bits) else { return Ok(()) };
            let again = Number::from_bits(bits).map(Number::to_bits);
            prop_assert_eq!(again.and_then(Target::from_bits), Some(target));
        }

        #[test]
        fn no_headers_panic_or_pass_the_limit(paces in prop::collection::vec((any::<u32>(), 0x1900_0001_u32..0x1e0f_ffff), 24..60), time: u32) {
            for network in Network::ALL {
                if let Some(target) = window(&paces).next_bits(network, 50_000, time).and_then(Target::from_bits) {
                    prop_assert!(target <= network.easiest_target());
                }
            }
        }
    }
}
