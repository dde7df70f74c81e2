#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qrinfo_fuzz::correlator(data));
