//! `qrinfo verify` on recorded replies, as they were and altered.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use bytes::Bytes;
use qrinfo_core::{
    BlockHash, Network, Reply,
    message::{
        ExtraShare, GetMnListDiff, GetQRInfo, MnListDiff, NetworkMessage, PROTOCOL_VERSION, QRInfo, QuorumSnapshot,
    },
    wire::{
        Wire,
        frame::{Command as FrameCommand, Frame},
    },
};
use serde_json::{Value, json};
use spv_testkit::{Answer, Chain, Exchange, Recording, builder};
use tempfile::TempDir;

/// Files to verify, and the headers to verify them by.
struct Bench {
    directory: TempDir,
    network: Network,
}

impl Bench {
    fn of(recording: &Recording) -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), network: recording.network() };
        bench.write("headers.bin", recording.headers().as_flattened());
        bench
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        name.to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_qrinfo"))
            .current_dir(self.directory.path())
            .args(["verify", "--network", &self.network.to_string()])
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

    /// The exit code and the verdicts, by all headers.
    fn verdicts(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let arguments: Vec<_> = ["--headers", "headers.bin", "--json"].iter().chain(arguments).copied().collect();
        let output = self.run(&arguments, b"");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
        (output.status.code().unwrap(), lines.map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The verdict on one file.
    fn verdict(&self, arguments: &[&str]) -> Value {
        let (code, verdicts) = self.verdicts(arguments);
        let [verdict] = <[Value; 1]>::try_from(verdicts).unwrap();
        assert_eq!(code, code_of(&verdict), "{verdict}");
        verdict
    }

    /// The complaint about a command line or files that cannot be used.
    fn complaint(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments, b"");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

fn code_of(verdict: &Value) -> i32 {
    match verdict["verdict"].as_str().unwrap() {
        "true" => 0,
        "false" => 1,
        "missing" => 3,
        other => panic!("{other}"),
    }
}

fn payload(exchange: &Exchange) -> Option<Bytes> {
    match &exchange.answer {
        Answer::Reply(payload) => Some(payload.clone()),
        Answer::Refused => None,
    }
}

/// A reply that starts from genesis alone, and the next one of its plan.
fn first_two(recording: &Recording) -> [Bytes; 2] {
    let mut replies = recording.exchanges_of(&recording.complete_syncs()[0]).filter_map(payload);
    [replies.next().unwrap(), replies.next().unwrap()]
}

/// The newest cycle from genesis.
fn newest(recording: &Recording) -> Bytes {
    let chain = Chain::from_recording(recording, |_| true).unwrap();
    from_genesis(&chain, recording.block_hash(recording.tip()).unwrap()).unwrap()
}

fn from_genesis(chain: &Chain, block_hash: BlockHash) -> Option<Bytes> {
    let request = GetQRInfo { base_block_hashes: Vec::new(), block_hash, extra_share: true };
    answer(chain, &NetworkMessage::GetQRInfo(request))
}

/// The diff from genesis to a block.
fn list(chain: &Chain, block_hash: BlockHash) -> Option<Bytes> {
    answer(chain, &NetworkMessage::GetMnListD(GetMnListDiff { base_block_hash: BlockHash::ZERO, block_hash }))
}

/// A node's reply to a request.
fn answer(chain: &Chain, request: &NetworkMessage) -> Option<Bytes> {
    match builder::answer(chain, request, PROTOCOL_VERSION)?.ok()? {
        Reply::QrInfo(reply) => Some(reply.to_wire()),
        Reply::MnListDiff(diff) => Some(diff.to_wire()),
    }
}

fn recordings() -> Vec<(&'static str, Recording)> {
    let mut recordings = vec![("bundled", Recording::bundled().unwrap())];
    for name in ["regtest", "regtest-churn", "regtest-v3"] {
        match Recording::shared(name).unwrap() {
            Some(recording) => recordings.push((name, recording)),
            None => eprintln!("the recording {name} is not there: its replies are not verified"),
        }
    }
    recordings
}

#[test]
fn whole_syncs_are_true() {
    for (name, recording) in recordings() {
        let bench = Bench::of(&recording);
        // All others are part of the next test.
        for sync in recording.complete_syncs().iter().take(2) {
            let replies = recording.exchanges_of(sync);
            let files: Vec<_> = replies
                .map(|exchange| bench.write(&format!("{}.bin", exchange.id), &payload(exchange).unwrap()))
                .collect();
            let (code, verdicts) = bench.verdicts(&files.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!((code, verdicts.len()), (0, files.len()), "{name} {}", sync.name);
            for (verdict, file) in verdicts.iter().zip(&files) {
                assert_eq!((&verdict["verdict"], &verdict["reason"]), (&json!("true"), &Value::Null), "{verdict}");
                assert_eq!((&verdict["file"], &verdict["level"]), (&json!(file), &json!("full")));
                assert!(verdict["signatures"].as_u64() >= verdict["quorums_with_members"].as_u64(), "{verdict}");
            }
            assert_eq!(verdicts.last().unwrap()["rotated_quorums"], 2, "{name} {verdicts:?}");
        }
    }
}

/// Replies that belong to no sync are true as well, if the lists that they start from are given.
#[test]
fn every_recorded_reply_is_true_from_the_lists_at_its_bases() {
    for (name, recording) in recordings() {
        let bench = Bench::of(&recording);
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        let mut arguments = Vec::new();
        let heights: BTreeSet<_> = recording.exchanges().iter().flat_map(|exchange| &exchange.base_heights).collect();
        for height in heights {
            // Lists whose quorums no coinbase proves are refused.
            let diff = list(&chain, recording.block_hash(*height).unwrap());
            let diff = diff.filter(|diff| proves_quorums(&MnListDiff::from_wire(diff.clone()).unwrap()));
            arguments.extend(diff.map(|diff| format!("--list={}", bench.write(&format!("list_{height}"), &diff))));
        }
        assert!(arguments.len() > 4, "{name}");
        let replies = recording.exchanges().iter().filter_map(|exchange| Some((exchange.id, payload(exchange)?)));
        arguments.extend(replies.map(|(id, reply)| bench.write(&id.to_string(), &reply)));
        let (_, verdicts) = bench.verdicts(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let counts = |name| verdicts.iter().filter(|verdict| verdict["verdict"] == name).count();
        eprintln!("{name}: {} true, {} missing", counts("true"), counts("missing"));
        assert_eq!(counts("false"), 0, "{name}: {verdicts:?}");
        // Two start from a block of before the first masternode.
        assert!(counts("missing") <= 2, "{name}: {verdicts:?}");
    }
}

fn proves_quorums(diff: &MnListDiff) -> bool {
    diff.coinbase.payload().is_some_and(|payload| payload.merkle_root_quorums.is_some())
}

#[test]
fn a_message_comes_in_every_form_that_decode_takes() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let reply = newest(&recording);
    let expected = bench.verdict(&[&bench.write("reply", &reply)]);
    assert_eq!(expected["verdict"], "true");
    let hex: String = reply.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut frame = bytes::BytesMut::new();
    Frame { command: FrameCommand::QR_INFO, payload: reply.clone() }.encode(recording.network(), &mut frame);
    for input in [hex.as_bytes(), &frame, &reply] {
        for file in [&["-"][..], &[]] {
            let arguments = ["--headers", "headers.bin", "--json"].iter().chain(file).copied().collect::<Vec<_>>();
            let output = bench.run(&arguments, input);
            let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(verdict["file"], "-");
            let as_expected = Value::Object(
                verdict.as_object().unwrap().clone().into_iter().chain([("file".into(), json!("reply"))]).collect(),
            );
            assert_eq!(as_expected, expected);
        }
    }
}

#[test]
fn a_verdict_has_these_keys_and_the_worst_one_is_the_exit_code() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let [first, second] = first_two(&recording);
    let mut altered = QRInfo::from_wire(first.clone()).unwrap();
    altered.mn_list_diff_h.new_masternodes = Default::default();
    bench.write("true", &first);
    bench.write("missing", &second);
    bench.write("false", &altered.to_wire());
    for (files, expected) in [
        (vec!["true"], 0),
        (vec!["missing"], 3),
        (vec!["false"], 1),
        (vec!["false", "missing"], 1),
        (vec!["missing", "true"], 3),
        // The first reply leads to the lists that the second one starts from.
        (vec!["true", "missing"], 0),
        (vec!["true", "false", "missing"], 1),
    ] {
        let (code, verdicts) = bench.verdicts(&files);
        assert_eq!((code, verdicts.len()), (expected, files.len()), "{verdicts:?}");
        for verdict in &verdicts {
            let keys: BTreeSet<_> = verdict.as_object().unwrap().keys().map(String::as_str).collect();
            let expected = [
                "file",
                "verdict",
                "reason",
                "level",
                "unproven",
                "rotated_quorums",
                "quorums_with_members",
                "signatures",
            ];
            assert_eq!(keys, BTreeSet::from(expected));
        }
    }
}

#[test]
fn levels_prove_more_and_more() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    bench.write("reply", &newest(&recording));
    let verdict = |level| bench.verdict(&["reply", "--level", level]);
    let counts = |verdict: &Value| {
        ["rotated_quorums", "quorums_with_members", "signatures"].map(|key| verdict[key].as_u64().unwrap())
    };
    let structure = verdict("structure");
    assert_eq!((counts(&structure), &structure["unproven"]), ([0, 0, 0], &json!(["the lists"])));
    assert_eq!(counts(&verdict("roots")), [2, 0, 0]);
    let [rotated, with_members, signatures] = counts(&verdict("full"));
    assert!(rotated == 2 && with_members > 2 && signatures > 2 * with_members - 1, "{with_members} {signatures}");
    let text = bench.run(&["--headers", "headers.bin", "reply"], b"");
    let text = String::from_utf8(text.stdout).unwrap();
    let expected = format!("proven: 2 rotated quorums, {with_members} quorums with members, {signatures} signatures");
    assert!(text.starts_with("reply: true at level full\n") && text.contains(&expected), "{text}");
    assert!(text.contains("not proven: "), "{text}");
}

#[test]
fn what_is_lacking_is_named() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let [first, second] = first_two(&recording);
    bench.write("second", &second);
    let verdict = bench.verdict(&["second"]);
    assert_eq!((&verdict["verdict"], &verdict["unproven"]), (&json!("missing"), &json!(["the lists"])));
    let base = QRInfo::from_wire(second).unwrap();
    let bases: Vec<_> = base.diffs().map(|diff| diff.base_block_hash.to_string()).collect();
    let reason = verdict["reason"].as_str().unwrap();
    assert!(reason.contains("--list") && bases.iter().any(|base| reason.contains(base)), "{reason}");

    // Headers that end below the requested cycle, and such that start above the oldest work block.
    let reply = QRInfo::from_wire(first.clone()).unwrap();
    let work_height = recording.height(&reply.work_block_hash()).unwrap();
    bench.write("first", &first);
    let headers = recording.headers();
    for (from, to) in [(0, work_height), (0, work_height + 5), (work_height - 72, work_height + 30)] {
        bench.write("some.bin", headers[from as usize..to as usize].as_flattened());
        let from = from.to_string();
        let output = bench.run(&["--headers", "some.bin", "--headers-from", &from, "--json", "first"], b"");
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &verdict["verdict"]), (Some(3), &json!("missing")), "{verdict}");
        assert!(verdict["reason"].as_str().unwrap().contains("is not among the headers"), "{verdict}");
    }
}

#[test]
fn headers_that_start_above_genesis_will_do() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    bench.write("reply", &newest(&recording));
    let from = recording.tip() - 400;
    bench.write("some.bin", recording.headers()[from as usize..].as_flattened());
    let run = |from: u32| bench.run(&["--headers", "some.bin", "--headers-from", &from.to_string(), "reply"], b"");
    assert_eq!(run(from).status.code(), Some(0));
    for wrong in [from - 1, from + 1, from + 24, from - 24, 1] {
        let output = run(wrong);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{wrong}: {complaint}");
        assert!(complaint.contains("--headers-from"), "{wrong}: {complaint}");
    }
}

#[test]
fn a_capture_that_cannot_be_decoded_is_not_judged() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let reply = newest(&recording);
    for length in [1, 100, reply.len() / 2, reply.len() - 1] {
        bench.write("cut", &reply[..length]);
        let verdict = bench.verdict(&["cut"]);
        assert_eq!(verdict["verdict"], "missing", "{verdict}");
        assert!(verdict["reason"].as_str().unwrap().contains("complete"), "{verdict}");
    }
}

#[test]
fn files_that_cannot_be_used_are_nobodys_fault() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let reply = newest(&recording);
    bench.write("reply", &reply);
    bench.write("empty", b"");
    let headers = recording.headers().as_flattened();
    let mut broken = headers.to_vec();
    broken[80 * 500 + 40] ^= 1;
    bench.write("broken.bin", &broken);
    bench.write("cut.bin", &headers[..headers.len() - 1]);
    bench.write("other.bin", &headers[80..]);
    let diff = QRInfo::from_wire(reply.clone()).unwrap();
    let later = diff.diffs().find(|diff| diff.base_block_hash != recording.network().genesis_hash());
    let later = bench.write("later", &later.unwrap().to_wire());
    let from_genesis = diff.diffs().find(|diff| diff.base_block_hash == recording.network().genesis_hash()).unwrap();
    let false_list = MnListDiff { new_masternodes: Default::default(), ..from_genesis.clone() };
    bench.write("false", &false_list.to_wire());
    for (arguments, expected) in [
        (vec!["--headers", "broken.bin", "reply"], "headers of broken.bin"),
        (vec!["--headers", "cut.bin", "reply"], "no multiple of the 80 bytes"),
        (vec!["--headers", "empty", "reply"], "empty"),
        (vec!["--headers", "other.bin", "reply"], "is not regtest's block 0"),
        (vec!["--headers", "none.bin", "reply"], "none.bin"),
        (vec!["--headers", "headers.bin", "none"], "none"),
        (vec!["--headers", "headers.bin", "empty"], "empty"),
        (vec!["--headers", "headers.bin", "reply", "--list", "reply"], "give an mnlistdiff"),
        (vec!["--headers", "headers.bin", "reply", "--list", &later], "is not given before it"),
        (vec!["--headers", "headers.bin", "reply", "--list", "false"], "list false"),
        (vec!["reply"], "--headers"),
        (vec!["--headers", "headers.bin", "reply", "--level", "most"], "--level"),
    ] {
        let complaint = bench.complaint(&arguments);
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
}

#[test]
fn diffs_are_verified_one_after_another() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let reply = QRInfo::from_wire(newest(&recording)).unwrap();
    let mut diffs: Vec<_> = reply.diffs().collect();
    diffs.sort_by_key(|diff| recording.height(&diff.block_hash));
    let files: Vec<_> =
        (0..).zip(&diffs).map(|(place, diff)| bench.write(&format!("diff_{place}"), &diff.to_wire())).collect();
    let (code, verdicts) = bench.verdicts(&files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 0, "{verdicts:?}");
    assert!(verdicts.iter().any(|verdict| verdict["rotated_quorums"].as_u64() > Some(0)), "{verdicts:?}");
}

/// A message with everything blanked that is named as not proven, or documented as such.
fn proven_part(mut reply: QRInfo, unproven: &[String]) -> QRInfo {
    let blank_diff = |diff: &mut MnListDiff| {
        diff.total_transactions = 0;
        diff.quorums_cl_sigs = Default::default();
    };
    let is_unproven = |name: &str| {
        unproven
            .iter()
            .any(|part| part.starts_with("the snapshots of") && part.split(", ").any(|part| part.ends_with(name)))
    };
    let blank = |name: &str, snapshot: &mut QuorumSnapshot| {
        if is_unproven(name) {
            snapshot.active_quorum_members = Default::default();
            snapshot.skip_list = Default::default();
        }
    };
    blank("H-C", &mut reply.quorum_snapshot_at_h_minus_c);
    blank("H-2C", &mut reply.quorum_snapshot_at_h_minus_2c);
    blank("H-3C", &mut reply.quorum_snapshot_at_h_minus_3c);
    if let Some(ExtraShare { quorum_snapshot_at_h_minus_4c, mn_list_diff_at_h_minus_4c }) = &mut reply.extra_share {
        blank("H-4C", quorum_snapshot_at_h_minus_4c);
        blank_diff(mn_list_diff_at_h_minus_4c);
    }
    if unproven.iter().any(|part| part == "the diff to the tip") {
        reply.mn_list_diff_tip = reply.mn_list_diff_h.clone();
    }
    for diff in [
        &mut reply.mn_list_diff_tip,
        &mut reply.mn_list_diff_h,
        &mut reply.mn_list_diff_at_h_minus_c,
        &mut reply.mn_list_diff_at_h_minus_2c,
        &mut reply.mn_list_diff_at_h_minus_3c,
    ] {
        blank_diff(diff);
    }
    reply
}

/// Changes one bit at regular intervals. A changed message that is accepted has the same proven part.
#[test]
fn no_change_of_a_proven_field_is_accepted() {
    let recording = Recording::bundled().unwrap();
    let bench = Bench::of(&recording);
    let reply = newest(&recording);
    let original = QRInfo::from_wire(reply.clone()).unwrap();
    let mut counts = BTreeMap::new();
    let altered: Vec<_> = (0..reply.len())
        .step_by(7)
        .map(|at| {
            let mut altered = reply.to_vec();
            altered[at] ^= 1 << (at % 8);
            (altered, bench.path(&at.to_string()))
        })
        .collect();
    for (altered, path) in &altered {
        fs::write(path, altered).unwrap();
    }
    for chunk in altered.chunks(200) {
        let files: Vec<_> = chunk.iter().map(|(_, path)| path.to_str().unwrap()).collect();
        let (_, verdicts) = bench.verdicts(&files);
        for (verdict, (altered, path)) in verdicts.iter().zip(chunk) {
            let name = verdict["verdict"].as_str().unwrap().to_owned();
            if name == "true" {
                let unproven: Vec<String> = serde_json::from_value(verdict["unproven"].clone()).unwrap();
                let altered = QRInfo::from_wire(altered.clone()).unwrap();
                let is_same = proven_part(altered, &unproven) == proven_part(original.clone(), &unproven);
                assert!(is_same, "{}: {verdict}", path.display());
            }
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    eprintln!("{counts:?}");
    assert!(counts["false"] > 10 * counts.get("true").copied().unwrap_or(0), "{counts:?}");
}

/// Blocks of old quorums may lie below the headers. These do not: the headers start at genesis.
#[test]
fn an_old_quorum_of_no_block_is_not_accepted() {
    let mut count = 0;
    for (name, recording) in recordings() {
        let bench = Bench::of(&recording);
        let chain = Chain::from_recording(&recording, |_| true).unwrap();
        let blocks = (0..=recording.tip()).rev().filter_map(|height| recording.block_hash(height));
        let replies = blocks.filter_map(|block| from_genesis(&chain, block));
        let mut replies = replies.map(|reply| QRInfo::from_wire(reply).unwrap());
        let Some(reply) = replies.find(|reply| !reply.mn_list_diff_list.is_empty()) else { continue };
        bench.write("reply", &reply.to_wire());
        assert_eq!(bench.verdict(&["reply"])["verdict"], "true", "{name}");
        let other = BlockHash::from_bytes([7; 32]);
        let mut altered = [reply.clone(), reply.clone()];
        altered[0].mn_list_diff_list[0].block_hash = other;
        let mut commitments = reply.last_commitment_per_index.to_vec();
        for commitment in &mut commitments {
            commitment.quorum_hash = qrinfo_core::QuorumHash::from_bytes([8; 32]);
        }
        altered[1].last_commitment_per_index = commitments.into_iter().collect();
        for (altered, level) in altered.iter().zip(["roots", "structure"]) {
            bench.write("altered", &altered.to_wire());
            let verdict = bench.verdict(&["altered", "--level", level]);
            assert_ne!(verdict["verdict"], "true", "{name}: {verdict}");
        }
        count += 1;
    }
    eprintln!("{count} replies with trailing lists");
}

/// Bytes of a file beside the repository, unpacked if need be.
fn shared(path: &str) -> Option<Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors").join(path);
    if !file.is_file() {
        eprintln!("{} is not there: nothing is verified with it", file.display());
        return None;
    }
    if file.extension().is_none_or(|extension| extension != "xz") {
        return Some(fs::read(file).unwrap());
    }
    let unpacked = Command::new("xz").arg("-dc").arg(&file).output();
    if unpacked.is_err() {
        eprintln!("the command xz is not there: {} is not read", file.display());
    }
    unpacked.ok().map(|output| output.stdout)
}

#[test]
fn real_testnet_data() {
    let Some(reply) = shared("testnet/qrinfo_947248.bin") else { return };
    let Some(older) = shared("testnet/qrinfo_905770.bin") else { return };
    let Some(headers) = shared("testnet/testnet_942249_947248.bin.xz") else { return };
    let bench = Bench { directory: tempfile::tempdir().unwrap(), network: Network::Testnet };
    bench.write("headers.bin", &headers);
    bench.write("reply", &reply);
    bench.write("older", &older);
    let from = ["--headers-from", "942249"];
    let verdict = bench.verdict(&[&from[..], &["reply"]].concat());
    assert_eq!((&verdict["verdict"], &verdict["rotated_quorums"]), (&json!("true"), &json!(32)), "{verdict}");
    assert!(verdict["quorums_with_members"].as_u64() >= Some(32), "{verdict}");
    let verdict = bench.verdict(&[&from[..], &["older"]].concat());
    assert_eq!(verdict["verdict"], "missing", "{verdict}");

    // A chain of lists, each of them with the roots that its own coinbase has; there are no headers of these blocks.
    let heights: Vec<u32> = [0, 530_000].into_iter().chain((900_096..=900_360).step_by(24)).collect();
    let mut arguments = from.to_vec();
    let names: Vec<_> = heights.windows(2).map(|step| format!("mnlistdiff_{}_{}.bin", step[0], step[1])).collect();
    for name in &names {
        let Some(diff) = shared(&format!("testnet/mnlistdiff/{name}")) else { return };
        bench.write(name, &diff);
        arguments.extend(["--list", name]);
    }
    arguments.push("reply");
    assert_eq!(bench.verdict(&arguments)["verdict"], "true");
    let mut broken = fs::read(bench.path(&names[3])).unwrap();
    let last = broken.len() - 200;
    broken[last] ^= 1;
    bench.write(&names[3], &broken);
    let all = [&["--headers", "headers.bin"][..], &arguments].concat();
    assert!(bench.complaint(&all).contains(&names[3]));
}
