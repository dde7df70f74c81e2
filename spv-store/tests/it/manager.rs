use qrinfo_core::Network;
use spv_store::Store;

#[tokio::test]
async fn a_store_is_a_storage_manager() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Network::Regtest).unwrap();
    spv_testkit::storage::check(store).await;
}
