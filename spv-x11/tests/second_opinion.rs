//! X11 against another implementation, the Dash project's own.

use sha3::Digest;
use spv_x11::x11;

const HEADERS: usize = 4_000;

/// Random headers, and random inputs of every other length up to four times a header's. The seed is new each time; a
/// failure prints it, and `X11_SEED` repeats it.
#[test]
fn random_inputs_have_the_hash_that_dash_pow_gives() {
    let seed = std::env::var("X11_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("X11_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let lengths = std::iter::repeat_n(80, HEADERS).chain(0..=320);
    for length in lengths {
        let mut input = vec![0; length];
        rng.fill(&mut input);
        let expected: [u8; 32] = dash_pow::X11::digest(&input).into();
        assert_eq!(x11(&input), expected, "X11_SEED={seed}, {length} bytes: {input:02x?}");
    }
}
