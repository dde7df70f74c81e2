use std::{fs, sync::OnceLock};

use qrinfo_core::{BlockHash, BlockHeader, Network};
use spv_store::Store;

use crate::input::Input;

/// The image of a database: a real one that is changed at places that the input chooses, or the input itself.
pub fn store(bytes: &[u8]) {
    let Ok(directory) = tempfile::tempdir() else { return };
    let path = directory.path().join("regtest.redb");
    let mut input = Input::new(bytes);
    let image = if input.below(4) == 0 {
        input.rest().to_vec()
    } else {
        let mut image = image().to_vec();
        while !input.is_empty() {
            let (at, value) = (usize::from(input.short()) * 8 + input.below(8), input.byte());
            let at = at % image.len();
            image[at] ^= value;
        }
        image
    };
    if fs::write(&path, &image).is_err() {
        return;
    }
    match Store::open(directory.path(), Network::Regtest) {
        Ok(store) => {
            let tip = store.tip_height();
            if let Ok(Some(tip)) = tip {
                let _ = store.hash_at(tip);
                let _ = store.hash_at(tip.saturating_sub(1));
            }
            let _ = store.masternode_state();
        }
        // Refused, and left as it was.
        Err(_) => assert!(fs::read(&path).is_ok_and(|now| now == image), "a refused database was changed"),
    }
}

/// A database with a hundred headers.
fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory for the image");
        let store = Store::open(directory.path(), Network::Regtest).expect("a fresh store");
        let mut headers = Vec::new();
        let mut before = BlockHash::ZERO;
        for number in 1..=100 {
            let mut bytes = [number; 80];
            bytes[4..36].copy_from_slice(before.as_bytes());
            before = BlockHash::from_bytes([number; 32]);
            headers.push((BlockHeader::from_bytes(bytes), before));
        }
        store.store_headers(1, &headers).expect("headers that follow one another");
        drop(store);
        fs::read(directory.path().join("regtest.redb")).expect("the image of the store")
    })
}
