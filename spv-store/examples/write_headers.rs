//! Time, bytes written and size of the file for the headers of mainnet from DIP-24's start on, in batches of the sizes
//! that `headers` and `headers2` messages have. The bytes are those that Linux counts for this process.
//!
//! `cargo run --release -p spv-store --example write_headers -- [DIRECTORY] [HEADERS]`

use std::{error::Error, fs, io::Write, ops::Range, path::PathBuf, process, time::Instant};

use qrinfo_core::{BlockHash, BlockHeader, HEADER_LEN, Network};
use spv_store::{HeaderWriter, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("write-headers-{}", process::id()));
    let count = arguments.next().map_or(Ok(940_000), |count| count.parse())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{count} headers, {:.1} MB", megabytes(payload(count)))?;
    for batch in [2_000, 8_000] {
        for (name, run) in [("a call each", in_calls as fn(&Store, _, _) -> _), ("in the background", in_background)] {
            let store = Store::open(&directory, Network::Mainnet)?;
            let (start, before) = (now(), bytes_written()?);
            run(&store, count, batch)?;
            let (time, written) = (start.elapsed(), bytes_written()? - before);
            let path = store.path().to_owned();
            drop(store);
            let start = now();
            Store::open(&directory, Network::Mainnet)?;
            writeln!(
                out,
                "batches of {batch}, {name}: {:.1} s, {:.1} MB written ({:.2} x), file {:.1} MB, opened in {:.2} s",
                time.as_secs_f64(),
                megabytes(written),
                written as f64 / payload(count) as f64,
                megabytes(fs::metadata(path)?.len()),
                start.elapsed().as_secs_f64(),
            )?;
            fs::remove_dir_all(&directory)?;
        }
    }
    Ok(())
}

fn in_calls(store: &Store, count: u32, batch: u32) -> Result<()> {
    for first in (0..count).step_by(batch as usize) {
        store.store_headers(first, &headers(first..count.min(first + batch)))?;
    }
    Ok(())
}

fn in_background(store: &Store, count: u32, batch: u32) -> Result<()> {
    let mut writer = HeaderWriter::new(store)?;
    for first in (0..count).step_by(batch as usize) {
        writer.write(first, headers(first..count.min(first + batch)))?;
    }
    Ok(writer.finish()?)
}

fn headers(heights: Range<u32>) -> Vec<(BlockHeader, BlockHash)> {
    heights.map(|height| (header(height), hash(height))).collect()
}

/// A header of bytes that do not repeat, after the one at the height below.
fn header(height: u32) -> BlockHeader {
    let mut bytes = [0; HEADER_LEN];
    let mut state = u64::from(height);
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    bytes[4..36].copy_from_slice(hash(height.wrapping_sub(1)).as_bytes());
    BlockHeader::from_bytes(bytes)
}

fn hash(height: u32) -> BlockHash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&u64::from(height).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    BlockHash::from_bytes(bytes)
}

fn payload(count: u32) -> u64 {
    u64::from(count) * HEADER_LEN as u64
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn bytes_written() -> Result<u64> {
    let counts = fs::read_to_string("/proc/self/io")?;
    let written = counts.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar in /proc/self/io")?;
    Ok(written.parse()?)
}

#[allow(clippy::disallowed_methods, reason = "an example that measures real time")]
fn now() -> Instant {
    Instant::now()
}
