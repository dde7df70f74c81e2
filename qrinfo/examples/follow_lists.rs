//! The masternodes and the active quorums of each block, as lines of JSON:
//! `cargo run -p qrinfo --features follow --example follow_lists -- regtest 127.0.0.1:19899`.
#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    io::{self, Write},
};

use qrinfo::{
    book::{ActiveSet, QuorumBook},
    follow::{FollowConfig, FollowEvent, FollowState, follow},
    nodes::{Announcements, OpenNodes, open_nodes},
};
use qrinfo_core::{BlockHash, LlmqType, Network};
use qrinfo_verify::MasternodeList;
use serde_json::{Map, Value, json};
use spv_config::ClientConfig;
use tokio::{select, sync::broadcast::error::RecvError};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let network: Network = arguments.next().ok_or("give a network and nodes")?.parse()?;
    let nodes: Vec<_> = arguments.collect();
    let config = ClientConfig::new(network);
    let OpenNodes { ledger, events, .. } =
        open_nodes(&config, &nodes, Announcements::Blocks, None, |line| eprintln!("{line}")).await?;
    let mut follower = follow(events, ledger, None, FollowConfig::from(&config))?;

    let mut events = follower.events();
    let (mut tip, mut types) = (None, BTreeSet::new());
    loop {
        // Events first: the tip and its lists are told before the state says that they are there.
        select! {
            biased;
            event = events.recv() => match event {
                Ok(FollowEvent::Tip { height, hash }) => tip = Some((height, hash)),
                Ok(FollowEvent::Proven(lists)) => types.extend(lists.quorums().iter().map(|quorum| quorum.llmq_type)),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            },
            changed = follower.state.changed() => {
                changed?;
                let state = follower.state.borrow_and_update().clone();
                if let (FollowState::Synced { height }, Some((at, hash))) = (state, tip) && at == height {
                    let line = line(&follower.book, height, hash, &types);
                    writeln!(io::stdout(), "{line}")?;
                }
            }
        }
    }
    Ok(follower.stop().await?)
}

/// The lists of a block. A masternode is shown by its identity, its operator's key, and its standing.
fn line(book: &QuorumBook, height: u32, hash: BlockHash, types: &BTreeSet<LlmqType>) -> Value {
    let masternodes = book.masternodes(height).found().as_ref().map(masternodes);
    let active =
        |llmq_type: &LlmqType| Some((llmq_type.0.to_string(), active(book.active(*llmq_type, height).found()?)));
    let quorums: Map<String, Value> = types.iter().filter_map(active).collect();
    json!({ "height": height, "hash": hash.to_string(), "masternodes": masternodes, "quorums": quorums })
}

fn masternodes(list: &MasternodeList) -> Value {
    let masternodes = list.iter().map(|entry| {
        let key: String = entry.pub_key_operator.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "proRegTxHash": entry.pro_reg_tx_hash.to_string(), "pubKeyOperator": key, "isValid": entry.is_valid })
    });
    masternodes.collect()
}

fn active(set: ActiveSet) -> Value {
    let quorums = set.settled.iter().chain(&set.unsettled);
    quorums.map(|quorum| quorum.quorum_hash.to_string()).collect()
}
