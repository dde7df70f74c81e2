//! `qrinfo decode` against a node's own JSON of the same replies.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use qrinfo_core::{
    Hash256, ProTxHash,
    message::{MnListDiff, NetInfo, QRInfo, SmlEntry, SmlEntryKind},
    wire::{Wire, put_var_bytes},
};
use serde_json::Value;

const SKIP_LIST: &str = "tests/data/skip_list.bin";
const TRAILING_LIST: &str = "tests/data/trailing_list.bin";

fn decode(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qrinfo"))
        .arg("decode")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The command may end without having read everything.
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn printed(arguments: &[&str], input: &[u8]) -> String {
    let output = decode(arguments, input);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line of complaint about input that cannot be decoded.
fn complaint(arguments: &[&str], input: &[u8]) -> String {
    let output = decode(arguments, input);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{arguments:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.strip_prefix("qrinfo: ").and_then(|text| text.strip_suffix('\n')).unwrap();
    assert!(!line.contains('\n'), "{line}");
    line.to_owned()
}

fn vectors(directory: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(directory);
    let found = path.is_dir();
    if !found {
        eprintln!("{} is not there: its messages are not compared", path.display());
    }
    found.then_some(path)
}

/// The 20 bytes that a regtest address encodes: Base58 of a version byte, a key's hash and four bytes of checksum.
fn key_id(address: &str) -> String {
    const ALPHABET: &str = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    let mut bytes = [0_u8; 25];
    for digit in address.chars() {
        let mut carry = ALPHABET.find(digit).unwrap();
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
    }
    assert_eq!(bytes[0], 140);
    bytes[1..21].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The node's JSON with the documented exception: the voting key's hash instead of its address.
fn as_documented(node: Value) -> Value {
    match node {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("votingAddress", Value::String(address)) => ("keyIDVoting".to_owned(), key_id(&address).into()),
                (_, value) => (name, as_documented(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(as_documented).collect(),
        other => other,
    }
}

/// Takes out what a node of Dash Core 23.0 does not print.
fn as_version_23_0(ours: Value) -> Value {
    match ours {
        Value::Object(fields) => {
            let known = fields.into_iter().filter(|(name, _)| name != "addresses");
            known.map(|(name, value)| (name, as_version_23_0(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(as_version_23_0).collect(),
        other => other,
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

/// Compares names, values and order.
fn compare(reply: &Path, node: &Path, form: fn(Value) -> Value) {
    let node: Value = serde_json::from_slice(&fs::read(node).unwrap()).unwrap();
    let expected = pretty(&as_documented(node));
    let ours = printed(&[reply.to_str().unwrap()], b"");
    let ours: Value = serde_json::from_str(&ours).unwrap();
    let printed = pretty(&form(ours));
    for (number, (printed, expected)) in printed.lines().zip(expected.lines()).enumerate() {
        assert_eq!(printed, expected, "line {} of {}", number + 1, reply.display());
    }
    assert_eq!(printed.len(), expected.len(), "{}", reply.display());
}

#[test]
fn recorded_replies_print_as_the_node_printed_them() {
    for reply in [SKIP_LIST, TRAILING_LIST] {
        compare(Path::new(reply), &Path::new(reply).with_extension("json"), as_version_23_0);
    }
}

/// The chains `regtest` and `regtest-churn` were recorded from Dash Core 23.0, `regtest-v3` from 23.1.2.
#[test]
fn every_reply_that_a_node_printed_prints_the_same() {
    let all = [("regtest", 76, true), ("regtest-churn", 77, true), ("regtest-v3", 45, false)];
    for (directory, count, is_23_0) in all {
        let Some(path) = vectors(directory) else { continue };
        let mut compared = 0;
        for node in fs::read_dir(path.join("rotationinfo")).unwrap() {
            let node = node.unwrap().path();
            let reply = path.join("replies").join(node.file_stem().unwrap()).with_extension("bin");
            compare(&reply, &node, if is_23_0 { as_version_23_0 } else { |ours| ours });
            compared += 1;
        }
        assert_eq!(compared, count);
    }
}

#[test]
fn mainnet_messages_print_with_their_evo_nodes_and_legacy_parts() {
    let Some(path) = vectors("mainnet") else { return };
    let read = |name: &str| -> Value {
        let text = printed(&[path.join(name).to_str().unwrap()], b"");
        serde_json::from_str(&text).unwrap()
    };
    let count = |list: &Value, holds: fn(&Value) -> bool| list.as_array().unwrap().iter().filter(|&v| holds(v)).count();

    let list = read("mainnet_mnlistdiff_0_2227096.bin");
    assert_eq!(list["merkleRootMNList"], "35e836483167ad2c3aca414b9609060d977c500dc0f07abb1f1c6ff902341e6d");
    assert_eq!(count(&list["mnList"], |_| true), 3147);
    assert_eq!(count(&list["mnList"], |entry| entry["nVersion"] == 1), 2197);
    assert_eq!(count(&list["mnList"], |entry| entry["isValid"] == true), 2305);
    assert_eq!(count(&list["newQuorums"], |quorum| quorum["version"] == 1), 24);
    let evo = |entry: &Value| {
        entry["nType"] == 1
            && entry["platformHTTPPort"].as_u64().is_some()
            && entry["platformNodeID"].as_str().is_some_and(|id| id.len() == 40)
    };
    assert_eq!(count(&list["mnList"], evo), 309);
    assert_eq!(count(&list["mnList"], |entry| entry.get("platformNodeID").is_some()), 309);

    let qr_info = read("mainnet_qrinfo_2240504.bin");
    let facts: Value = serde_json::from_slice(&fs::read(path.join("mainnet_qrinfo_2240504.json")).unwrap()).unwrap();
    assert_eq!(count(&qr_info["lastCommitmentPerIndex"], |_| true), 32);
    let mut diffs = 0;
    for (name, facts) in facts.as_object().unwrap() {
        let printed = &qr_info[name];
        if let Some(members) = facts.get("activeQuorumMembersCount") {
            assert_eq!(count(&printed["activeQuorumMembers"], |_| true) as u64, members.as_u64().unwrap(), "{name}");
        }
        if facts.get("nNewMNs").is_some() {
            diffs += 1;
            assert_eq!(printed["blockHash"], facts["blockHash"], "{name}");
            assert_eq!(printed["deletedMNs"], facts["deletedMNs"], "{name}");
            assert_eq!(count(&printed["mnList"], |_| true) as u64, facts["nNewMNs"].as_u64().unwrap(), "{name}");
        }
    }
    assert_eq!(diffs, 6);
}

#[test]
fn a_message_reads_the_same_in_every_form() {
    let payload = fs::read(SKIP_LIST).unwrap();
    let expected = printed(&[SKIP_LIST], b"");
    assert!(expected.starts_with("{\n  \"extraShare\": true,\n"));
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let upper = hex.to_uppercase();
    let wrapped: String = hex.as_bytes().chunks(63).map(|line| format!(" {}\r\n", line.escape_ascii())).collect();
    for input in [&payload[..], hex.as_bytes(), upper.as_bytes(), wrapped.as_bytes()] {
        assert_eq!(printed(&[], input), expected);
        assert_eq!(printed(&["-"], input), expected);
        assert_eq!(printed(&["--as", "qrinfo", "-"], input), expected);
    }
    for network in qrinfo_core::Network::ALL {
        assert_eq!(printed(&[], &frame(network, b"qrinfo", &payload)), expected, "{network}");
    }
}

fn frame(network: qrinfo_core::Network, command: &[u8], payload: &[u8]) -> Vec<u8> {
    use qrinfo_core::wire::frame::{Command, Frame};
    let mut out = bytes::BytesMut::new();
    Frame { command: Command::new(command), payload: payload.to_vec().into() }.encode(network, &mut out);
    out.to_vec()
}

#[test]
fn a_diff_prints_as_it_does_inside_its_qrinfo() {
    let qr_info = QRInfo::from_wire(fs::read(TRAILING_LIST).unwrap()).unwrap();
    let whole: Value = serde_json::from_str(&printed(&[TRAILING_LIST], b"")).unwrap();
    for (name, diff) in [("mnListDiffTip", &qr_info.mn_list_diff_tip), ("mnListDiffH", &qr_info.mn_list_diff_h)] {
        let expected = serde_json::to_string_pretty(&whole[name]).unwrap() + "\n";
        let payload = diff.to_wire();
        assert_eq!(printed(&[], &payload), expected);
        assert_eq!(printed(&["--as", "mnlistdiff"], &payload), expected);
        assert_eq!(printed(&[], &frame(qrinfo_core::Network::Mainnet, b"mnlistdiff", &payload)), expected);
    }
}

/// Cases that no recorded entry has: an address of an unknown network, a domain first, and a place without an address.
/// These bytes follow the layout in Dash Core 23.1's source.
#[test]
fn a_hand_written_entry_of_version_3_prints_its_addresses() {
    use bytes::{Buf, BufMut};
    let mut entry = Vec::new();
    entry.put_u16_le(3);
    entry.put_slice(&[0x11; 64]);
    // Core: an IPv4 address, an IPv6 address, one of Tor. HTTPS: a domain, and no address.
    entry.put_slice(&[1, 2, 0, 3]);
    entry.put_slice(&[1, 1, 4, 192, 0, 2, 1, 0x27, 0x0f]);
    entry.put_slice(&[1, 2, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x27, 0x0f]);
    entry.put_slice(&[1, 4, 2, 0xab, 0xcd, 0, 80]);
    entry.put_slice(&[2, 2]);
    entry.put_slice(b"\x02\x0cnode.example\x01\xbb");
    entry.put_slice(&[0xff]);
    entry.put_slice(&[0x22; 48]);
    entry.put_slice(&[0x33; 20]);
    entry.put_slice(&[1, 1, 0]);
    entry.put_slice(&(0..20).collect::<Vec<u8>>());
    let entry = SmlEntry::from_wire(entry).unwrap();
    let base = QRInfo::from_wire(fs::read(SKIP_LIST).unwrap()).unwrap().mn_list_diff_h;
    let diff = MnListDiff { new_masternodes: [entry].into_iter().collect(), ..base };
    let value: Value = serde_json::from_str(&printed(&[], diff.to_wire().chunk())).unwrap();
    let entry = &value["mnList"][0];
    assert_eq!(
        entry["addresses"],
        serde_json::json!({
            "core_p2p": ["192.0.2.1:9999", "[2001:db8::1]:9999", "network 4 abcd:80"],
            "platform_https": ["node.example:443", "[invalid entry]"],
        })
    );
    assert_eq!(entry["platformNodeID"], "131211100f0e0d0c0b0a09080706050403020100");
    assert_eq!(entry["service"], "192.0.2.1:9999");
    assert_eq!(entry["platformHTTPPort"], 443);
}

#[test]
fn what_cannot_be_decoded_is_told_in_one_line() {
    let payload = fs::read(SKIP_LIST).unwrap();
    let regtest = qrinfo_core::Network::Regtest;
    assert_eq!(
        complaint(&[], &payload[..payload.len() - 1]),
        format!(
            "neither a qrinfo (mnListDiffList at byte {}: 1 bytes are needed and 0 are left) \
             nor a mnlistdiff (Hash256 at byte 70: a count of 234 cannot fit in the 2678 bytes left)",
            payload.len() - 1
        )
    );
    let mut longer = payload.clone();
    longer.push(0);
    assert_eq!(
        complaint(&["--as", "qrinfo"], &longer),
        format!("not a qrinfo: end of message at byte {}: 1 bytes are left over", payload.len())
    );
    assert!(complaint(&["--as", "mnlistdiff"], &payload).starts_with("not a mnlistdiff: "));
    assert_eq!(complaint(&[], b""), "standard input: empty");
    assert!(complaint(&[], b" \n").starts_with("neither a qrinfo (mnSkipListMode at byte 0: 4 bytes are needed"));
    assert_eq!(complaint(&[], b"010"), "an odd number of hexadecimal digits");
    assert_eq!(complaint(&[], b"01 0x02"), "text that is not hexadecimal: 'x' at byte 4");
    assert_eq!(complaint(&[], "{\"nVersion\": 1}\n".as_bytes()), "text that is not hexadecimal: '{' at byte 0");
    assert_eq!(complaint(&["--as", "qrinfo"], "Größe".as_bytes()), "text that is not hexadecimal: 'G' at byte 0");
    assert!(complaint(&["no such file"], b"").starts_with("no such file: "));

    let mut frames = frame(regtest, b"qrinfo", &payload);
    assert_eq!(
        complaint(&[], &frames[..100]),
        "not a whole regtest frame: stream ended inside a frame, 100 bytes after its start"
    );
    frames.extend_from_slice(&[0; 7]);
    assert_eq!(complaint(&[], &frames), "7 bytes follow the frame of qrinfo");
    frames[30] ^= 1;
    assert_eq!(complaint(&[], &frames), "not a regtest frame: qrinfo arrived with a wrong checksum");
    assert_eq!(
        complaint(&[], &frame(regtest, b"ping", &[0; 8])),
        "a frame of ping; only qrinfo and mnlistdiff can be printed"
    );
}

/// A diff as older nodes wrote it: `version` is where the version stands, `entry` writes an entry.
fn old_diff(diff: &MnListDiff, version: Version, entry: fn(&SmlEntry) -> Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let put_version = |place, out: &mut Vec<u8>| {
        if version == place {
            out.extend_from_slice(&[1, 0]);
        }
    };
    put_version(Version::First, &mut out);
    diff.base_block_hash.encode(&mut out);
    diff.block_hash.encode(&mut out);
    out.extend_from_slice(&diff.total_transactions.to_le_bytes());
    diff.merkle_hashes.encode(&mut out);
    put_var_bytes(&mut out, &diff.merkle_flags);
    diff.coinbase.encode(&mut out);
    put_version(Version::BehindCoinbase, &mut out);
    diff.deleted_masternodes.encode(&mut out);
    out.push(u8::try_from(diff.new_masternodes.len()).unwrap());
    diff.new_masternodes.iter().for_each(|masternode| out.extend_from_slice(&entry(&masternode)));
    diff.deleted_quorums.encode(&mut out);
    diff.new_quorums.encode(&mut out);
    out
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    Absent,
    BehindCoinbase,
    First,
}

#[test]
fn a_layout_of_an_older_protocol_is_named() {
    let qr_info = QRInfo::from_wire(fs::read(SKIP_LIST).unwrap()).unwrap();
    let entry = SmlEntry {
        version: 2,
        pro_reg_tx_hash: ProTxHash::from_bytes([1; 32]),
        confirmed_hash: Hash256::from_bytes([2; 32]),
        net_info: NetInfo::Service { ip: [3; 16], port: 9999 },
        pub_key_operator: [4; 48],
        key_id_voting: [5; 20],
        is_valid: true,
        kind: SmlEntryKind::Evo { platform_http_port: Some(443), platform_node_id: [6; 20] },
    };
    let entries = [SmlEntry { kind: SmlEntryKind::Regular, ..entry.clone() }, entry].into_iter().collect();
    let diff = MnListDiff { new_masternodes: entries, ..qr_info.mn_list_diff_h.clone() };
    // Entries of version 2 are typed.
    let plain = |entry: &SmlEntry| entry.to_wire()[2..153].to_vec();
    let typed = |entry: &SmlEntry| entry.to_wire()[2..].to_vec();
    let versioned = |entry: &SmlEntry| entry.to_wire().to_vec();
    let older = "layout of protocol 70228 or older, which is not decoded; 70230 or newer is needed: ";
    for (version, entry, expected) in [
        (Version::Absent, plain as fn(&SmlEntry) -> Vec<u8>, older),
        (Version::BehindCoinbase, plain, older),
        (Version::BehindCoinbase, typed, older),
        (Version::BehindCoinbase, versioned, older),
        (Version::First, versioned, "layout of protocol 70229, which is not decoded; "),
    ] {
        let old = |diff: &MnListDiff| old_diff(diff, version, entry);
        let complaint_of_diff = complaint(&[], &old(&diff));
        assert!(complaint_of_diff.starts_with(expected), "{complaint_of_diff}");
        assert!(complaint(&["--as", "mnlistdiff"], &old(&diff)).starts_with(expected));

        let mut out = Vec::new();
        qr_info.quorum_snapshot_at_h_minus_c.encode(&mut out);
        qr_info.quorum_snapshot_at_h_minus_2c.encode(&mut out);
        qr_info.quorum_snapshot_at_h_minus_3c.encode(&mut out);
        out.extend([&qr_info.mn_list_diff_tip, &diff, &diff, &diff, &diff].into_iter().flat_map(old));
        out.push(0);
        qr_info.last_commitment_per_index.encode(&mut out);
        out.extend_from_slice(&[0, 1]);
        out.extend(old(&diff));
        let complaint_of_qr_info = complaint(&[], &out);
        assert!(complaint_of_qr_info.starts_with(expected), "{complaint_of_qr_info}");
        out.pop();
        assert!(!complaint(&[], &out).contains("layout"), "a part of a message has no layout");
    }
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    assert_eq!(decode(&["--as", "block"], b"").status.code(), Some(2));
    assert_eq!(decode(&["a", "b"], b"").status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn endless_input_ends() {
    assert_eq!(complaint(&["/dev/zero"], b""), "/dev/zero: longer than 100663296 bytes; no message is");
}

#[test]
fn a_reader_may_stop_early() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_qrinfo"))
        .args(["decode", TRAILING_LIST])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((status.code(), complaint.as_str()), (Some(0), ""));
}
