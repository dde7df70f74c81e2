//! `qrinfo peers`: the nodes that answer.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use futures_util::{StreamExt, stream::FuturesUnordered};
use qrinfo::nodes::{Announcements, OpenNodes, on_one_line, open_nodes};
use qrinfo_core::{PeerId, message::VersionMessage};
use serde_json::{Value, json};
use spv_peer::{Connection, PeerError, round_trip};
use spv_pool::{Place, PoolEvent};
use tokio::time::{Instant, timeout_at};

use crate::{
    nodes::NodeOptions,
    screen::{self, Table},
};

/// Connects to nodes and lists those that answer: height, protocol version, time of a ping, and software. A node that
/// does not answer is listed with the reason.
///
/// No node is asked for quorums, because such a question names a recent block and needs headers. The refusals of each
/// node show in the page of "qrinfo sync --report".
///
/// Exits with 0 if at least one node answers, 1 otherwise.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    #[command(flatten)]
    nodes: NodeOptions,
    /// Time to connect and to answer
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// A node that answered.
struct Answer {
    version: VersionMessage,
    ping: Duration,
}

/// Runs the command. Returns true if a node answered.
pub(crate) async fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let config = options.nodes.completed(options.nodes.load()?)?;
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let OpenNodes { mut events, named, .. } =
        open_nodes(&config, &options.nodes.peers, Announcements::Blocks, None, |_| {}).await?;
    let wanted = if named.is_empty() { config.max_peers as usize } else { named.len() };
    let (mut answers, mut failures) = (BTreeMap::new(), BTreeMap::new());
    let (mut asked, mut places) = (FuturesUnordered::new(), Vec::new());
    let look = async {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(PoolEvent::Ready(place, connection)) => asked.push(ask(place, connection)),
                    Some(PoolEvent::Failed(peer, error)) => _ = failures.insert(peer.to_string(), on_one_line(&error)),
                    Some(PoolEvent::Unresolved(host, error)) => _ = failures.insert(host, on_one_line(&error)),
                    Some(PoolEvent::Exhausted) if asked.is_empty() => return,
                    Some(PoolEvent::Exhausted) => {}
                    None => return,
                },
                Some((place, answer)) = asked.next() => {
                    match answer {
                        Ok(answer) => _ = answers.insert(place.peer(), answer),
                        Err(error) => _ = failures.insert(place.peer().to_string(), on_one_line(&error)),
                    }
                    // Held to the end, so that no other node takes the place.
                    places.push(place);
                }
            }
            if answers.len() >= wanted || !named.is_empty() && answers.len() + failures.len() >= wanted {
                return;
            }
        }
    };
    // The nodes that have not answered by then do not answer.
    let _ = timeout_at(until, look).await;
    match options.json {
        true => write_json(out, &answers, &failures)?,
        false => write_text(out, screen::width(), &answers, &failures)?,
    }
    Ok(!answers.is_empty())
}

/// Pings a node.
async fn ask(place: Place, mut connection: Connection) -> (Place, Result<Answer, PeerError>) {
    let ping = round_trip(&mut connection, fastrand::u64(..)).await;
    (place, ping.map(|ping| Answer { version: connection.peer_version().clone(), ping }))
}

fn write_text(
    out: &mut impl Write,
    width: usize,
    answers: &BTreeMap<PeerId, Answer>,
    failures: &BTreeMap<String, String>,
) -> io::Result<()> {
    let mut table = Table::new(["height", "protocol", "ping", "version"]);
    for (peer, Answer { version, ping }) in answers {
        // A peer chose these bytes: nothing of them may control a terminal.
        let agent = screen::shortened(&version.user_agent.replace(|c: char| c.is_control() || c == ' ', "_"), 24);
        let ping = format!("{} ms", ping.as_millis());
        let values = [version.start_height.to_string(), version.protocol_version.to_string(), ping, agent];
        table.row(&peer.to_string(), values);
    }
    if !answers.is_empty() {
        table.write_by_row(out, width)?;
    }
    for (node, why) in failures {
        screen::paragraph(out, width, &format!("{node}: {why}"))?;
    }
    screen::paragraph(out, width, &format!("answers: {}, failures: {}", answers.len(), failures.len()))
}

fn write_json(
    out: &mut impl Write,
    answers: &BTreeMap<PeerId, Answer>,
    failures: &BTreeMap<String, String>,
) -> io::Result<()> {
    let answers = answers.iter().map(|(peer, Answer { version, ping })| {
        json!({
            "peer": peer.to_string(),
            "height": version.start_height,
            "protocol": version.protocol_version,
            "milliseconds": ping.as_millis() as u64,
            "userAgent": version.user_agent,
        })
    });
    let failures = failures.iter().map(|(node, why)| json!({ "peer": node, "why": why }));
    let value = json!({ "answer": answers.collect::<Vec<Value>>(), "fail": failures.collect::<Vec<Value>>() });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fits_80_and_40_columns() {
        let peer = |n: u8| PeerId::Address(([203, 0, 113, n], 19_999).into());
        let mut version =
            VersionMessage::for_client(peer(1), 0, 7, "/Dash Core:23.1.2(devnet.devnet-paloma)\u{1b}[2J/");
        version.start_height = 2_240_504;
        let answer = || Answer { version: version.clone(), ping: Duration::from_millis(123) };
        let answers = [(peer(111), answer()), (peer(112), answer())].into();
        let failures = [("seed.example:9999".to_owned(), "the host does not resolve to any address".to_owned())].into();
        for width in [80, 40] {
            let mut out = Vec::new();
            write_text(&mut out, width, &answers, &failures).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(screen::fits(&text, width) && !text.contains('\u{1b}'), "{text}");
        }
    }
}
