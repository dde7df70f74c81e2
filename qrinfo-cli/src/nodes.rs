//! The options that name nodes and data, and the configuration from them.

use std::{env, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use qrinfo_core::Network;
use spv_config::ClientConfig;

/// Options of every command that works with a configuration and stored data.
#[derive(Debug, clap::Args)]
pub(crate) struct DataOptions {
    /// Configuration file in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// mainnet, testnet, devnet or regtest [default: network of the configuration, or mainnet]
    #[arg(long)]
    network: Option<Network>,
    /// Directory for headers and what is proven [default: storage_path of the configuration, or none]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Options of every command that connects to nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeOptions {
    #[command(flatten)]
    data: DataOptions,
    /// Nodes to ask [default: peers of the configuration, or nodes from the network's DNS seeds]
    #[arg(long = "peer", value_name = "HOST:PORT", num_args = 1..)]
    pub(crate) peers: Vec<String>,
    /// SOCKS5 proxy for all connections, such as 127.0.0.1:9050 for Tor [default: proxy of the configuration, or none]
    #[arg(long, value_name = "ADDRESS:PORT")]
    proxy: Option<SocketAddr>,
}

// === impl DataOptions ===

impl DataOptions {
    /// Loads the configuration.
    pub(crate) fn load(&self) -> Result<ClientConfig> {
        let mut config = ClientConfig::from_sources(self.config.as_deref(), env::vars_os())?;
        if let Some(network) = self.network {
            config.network = network;
        }
        if let Some(directory) = &self.data_dir {
            config.storage_path = Some(directory.clone());
        }
        Ok(config)
    }

    /// Checks a configuration of [`load`](Self::load), and completes what follows from it.
    pub(crate) fn completed(mut config: ClientConfig) -> Result<ClientConfig> {
        config.validate().context("the configuration is invalid")?;
        config.network = config.network();
        // Devnets share magic and name, so each has a store of its own.
        if let (Network::Devnet(_), Some(name)) = (config.network, &config.devnet.name) {
            config.storage_path = config.storage_path.map(|directory| directory.join(name));
        }
        Ok(config)
    }
}

// === impl NodeOptions ===

impl NodeOptions {
    /// Loads the configuration. Peers named by options are not part of it, for they are yet to be resolved.
    pub(crate) fn load(&self) -> Result<ClientConfig> {
        let mut config = self.data.load()?;
        if !self.peers.is_empty() {
            config.peers.clear();
        }
        config.proxy = self.proxy.or(config.proxy);
        Ok(config)
    }

    /// Checks a configuration of [`load`](Self::load), and completes what follows from it.
    pub(crate) fn completed(&self, config: ClientConfig) -> Result<ClientConfig> {
        let mut config = DataOptions::completed(config)?;
        // Who names nodes wants all of them asked.
        let named = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        config.max_peers = config.max_peers.max(named.min(*ClientConfig::PEERS.end()));
        Ok(config)
    }
}
