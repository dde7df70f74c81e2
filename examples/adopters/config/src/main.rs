//! The settings of the light client, nested in a wallet's own file.
use serde::Deserialize;
use spv_config::ClientConfig;

#[derive(Deserialize)]
struct Wallet {
    name: String,
    client: ClientConfig,
}

fn main() {
    let text = "name = 'savings'\n[client]\nnetwork = 'testnet'\nmax_peers = 6\nmessage_timeout = '20s'";
    let wallet: Wallet = toml::from_str(text).expect("a wallet's file");
    wallet.client.validate().expect("valid settings");
    println!("{}: {} with {} peers", wallet.name, wallet.client.network, wallet.client.max_peers);

    let text = "name = 'savings'\n[client]\nnetwork = 'testnet'\nmax_peers = 0";
    let wallet: Wallet = toml::from_str(text).expect("well-formed");
    println!("not valid: {}", wallet.client.validate().expect_err("no peers"));
}
