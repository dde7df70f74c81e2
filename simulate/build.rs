//! Names the flag that makes tokio's choices follow from a seed.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(tokio_unstable)");
}
