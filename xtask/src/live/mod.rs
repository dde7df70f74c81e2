//! `cargo xtask live`: the command `qrinfo` against a real Dash Core node; see docs/live.md.
//!
//! Nothing here uses the crates of this workspace: the check sees what a user sees, and the node is the judge.

mod blocks;
mod client;
mod compare;
mod follow;
mod node;
mod patience;
mod rpc;
mod tap;

use std::{collections::HashSet, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};

use self::{
    blocks::Blocks,
    client::{Client, Way},
    compare::Comparison,
    node::{Node, Version},
    patience::Patience,
    tap::Tap,
};

/// Time for a program that only prints: far more than one needs on a busy machine.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// The options of the check.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The program dashd; without it nothing is checked
    #[arg(long, value_name = "PATH", requires = "blocks")]
    dashd: Option<PathBuf>,
    /// The program dash-cli, to ask the nodes with; without it they are asked over HTTP
    #[arg(long, value_name = "PATH")]
    dash_cli: Option<PathBuf>,
    /// Blocks of a recorded regtest chain, as a node's block file. One that ends in .xz is unpacked by the program xz;
    /// elsewhere unpack it first (xz -d)
    #[arg(long, value_name = "FILE")]
    blocks: Option<PathBuf>,
    /// Nodes to start, 1 to 3
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    nodes: u8,
    /// Newest blocks of the chain that a follower sees one by one; 0 to leave this out
    #[arg(long, value_name = "N", default_value_t = 130)]
    follow: u32,
}

/// A node with the relay before it.
struct Tapped {
    node: Node,
    tap: Tap,
}

/// Checks against real nodes, and stops them whatever happens.
pub(crate) fn run(options: Options) -> Result<()> {
    let (Some(dashd), Some(file)) = (options.dashd, options.blocks) else {
        eprintln!("live: skipped, no Dash Core binary was given (--dashd PATH --blocks FILE)");
        return Ok(());
    };
    let patience = Patience::of_user()?;
    let blocks = Blocks::read(&file, &patience)?;
    let (version, printed) = Version::of(&dashd, &patience)?;
    let client = Client::build(patience.clone())?;
    let mut nodes = Vec::new();
    for _ in 0..options.nodes {
        let node = Node::start(&dashd, options.dash_cli.clone(), version, &blocks, &patience)?;
        nodes.push(Tapped { tap: Tap::before(node.address)?, node });
    }
    for tapped in &mut nodes {
        tapped.node.wait_for(blocks.tip, &patience)?;
    }
    eprintln!("live: {} x {printed}, height {}", nodes.len(), blocks.tip);
    check(&client, &nodes)?;
    nodes.into_iter().try_for_each(|tapped| tapped.node.stop(&patience)).context("a node was not stopped in order")?;
    if options.follow > 0 {
        let (old, new) = blocks.split(options.follow)?;
        let start = |_| Node::start(&dashd, options.dash_cli.clone(), version, &old, &patience);
        let mut nodes = (0..options.nodes).map(start).collect::<Result<Vec<_>>>()?;
        nodes.iter_mut().try_for_each(|node| node.wait_for(old.tip, &patience))?;
        follow::check(&nodes, &new, &patience)?;
        nodes.into_iter().try_for_each(|node| node.stop(&patience)).context("a node was not stopped in order")?;
    }
    eprintln!("live: all equal, all nodes stopped");
    Ok(())
}

/// Syncs every way, and compares each sync with the first node.
fn check(client: &Client, nodes: &[Tapped]) -> Result<()> {
    let peers: Vec<_> = nodes.iter().map(|tapped| tapped.tap.address.to_string()).collect();
    let mut comparison = Comparison::with(&nodes.first().context("no node was started")?.node.rpc)?;
    let mut decoded = HashSet::new();
    for way in Way::all() {
        let synced = client.sync(way, &peers).with_context(|| format!("sync ({way})"))?;
        let replies: Vec<_> = nodes.iter().flat_map(|tapped| tapped.tap.take_replies()).collect();
        ensure!(replies.len() >= synced.cycles().len(), "fewer replies than cycles crossed the wire");
        comparison.sync(&synced)?;
        let received = replies.len();
        for reply in replies {
            if !decoded.contains(&reply) {
                comparison.reply(&client.decode(&reply)?)?;
                decoded.insert(reply);
            }
        }
        let cycles = synced.cycles().len();
        let took = &synced.0["milliseconds"];
        eprintln!("live: {way}: {cycles} cycles, {received} replies, {took} ms; score for us: {}", scores(nodes)?);
    }
    let counts = comparison.counts;
    eprintln!(
        "live: equal to the node: {} work blocks, {} list sizes, {} diffs (protx diff) in {} different replies, \
         {} quorums (quorum info)",
        counts.cycles,
        counts.lists,
        counts.diffs,
        decoded.len(),
        counts.quorums
    );
    let one_sided: Vec<_> = comparison.one_sided.iter().map(String::as_str).collect();
    eprintln!("live: not compared, as only one side has it: {}", one_sided.join(", "));
    Ok(())
}

/// The misbehaviour scores of this sync's connections, node by node. The connections are closed then.
fn scores(nodes: &[Tapped]) -> Result<String> {
    let mut told = Vec::new();
    for Tapped { node, tap } in nodes {
        told.push(match node.scores()? {
            Some(scores) => format!("{scores:?}"),
            None => "not told by this version".to_owned(),
        });
        tap.release();
    }
    Ok(told.join(" "))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(line: &[&str]) -> Result<Options, clap::Error> {
        Line::try_parse_from([&["live"], line].concat()).map(|line| line.options)
    }

    #[test]
    fn without_a_binary_the_check_is_skipped() {
        run(parsed(&[]).unwrap()).unwrap();
        run(parsed(&["--blocks", "absent"]).unwrap()).unwrap();
    }

    #[test]
    fn a_binary_needs_blocks_and_nodes_are_one_to_three() {
        assert!(parsed(&["--dashd", "d"]).is_err());
        let options = parsed(&["--dashd", "d", "--blocks", "b"]).unwrap();
        assert_eq!(options.nodes, 3);
        for (nodes, good) in [("0", false), ("1", true), ("3", true), ("4", false)] {
            assert_eq!(parsed(&["--dashd", "d", "--blocks", "b", "--nodes", nodes]).is_ok(), good, "{nodes}");
        }
    }
}
