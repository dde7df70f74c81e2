//! The page of `--report`: what a user needs to see when nodes misbehave is on it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{path::Path, process::Command, time::Duration};

use qrinfo_core::{BlockHash, message::QRInfo};
use spv_testkit::{Fault, PeerProfile, RecordedPeer};

use self::support::{ALL, assert_complete, recording, run};

/// Browsers that make a picture of a page without a window.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// A sync with a node that stalls, one that refuses, one that lies and is banned for it, and an honest one.
async fn report(file: &Path) -> String {
    let recording = recording();
    let profile = |milliseconds| PeerProfile {
        round_trip: Duration::from_millis(milliseconds),
        compute: Duration::from_millis(5),
        rate: Some(200_000),
    };
    let node = || RecordedPeer::builder(recording.clone());
    let lie = |reply: &mut QRInfo| reply.mn_list_diff_h.block_hash = BlockHash::from_bytes([7; 32]);
    let drip = Fault::Drip { bytes: 16, every: Duration::from_millis(400) };
    let stalls = node().profile(profile(20)).fault(4.., drip).spawn().await.unwrap();
    let refuses = node().profile(profile(25)).fault(2..6, Fault::Refuse).spawn().await.unwrap();
    let lies = node().profile(profile(30)).lie(3.., lie).spawn().await.unwrap();
    let honest = node().profile(profile(120)).spawn().await.unwrap();
    let file = file.to_str().unwrap();
    let more = [ALL[0], ALL[1], "--report", file];
    assert_complete(&run(&[&stalls, &refuses, &lies, &honest], &more).await);
    std::fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn a_stall_a_refusal_a_liar_and_a_ban_are_on_the_page() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.html");
    let page = report(&file).await;
    for mark in ["mark stall", "bar refused", "bar failed", "mark ban", "was banned"] {
        assert!(page.contains(mark), "no {mark}");
    }
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="), "it needs other files");
    assert!(page.len() < 500_000, "{} bytes", page.len());

    let version = |browser: &&str| Command::new(browser).arg("--version").output().is_ok();
    let Some(browser) = BROWSERS.into_iter().find(|browser| version(browser)) else {
        eprintln!("skipped: no browser is installed, so no picture of the page is made");
        return;
    };
    for width in [1200, 400] {
        let picture = directory.path().join(format!("{width}.png"));
        let status = Command::new(browser)
            .args(["--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars"])
            .arg(format!("--window-size={width},1600"))
            .arg(format!("--screenshot={}", picture.display()))
            .arg(format!("file://{}", file.display()))
            .status()
            .unwrap();
        assert!(status.success());
        assert!(std::fs::metadata(&picture).unwrap().len() > 5_000, "the picture is empty");
    }
}
