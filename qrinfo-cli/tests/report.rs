//! The page of `--report`: what a user needs to see when nodes misbehave is on it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{path::Path, process::Command, time::Duration};

use qrinfo_core::{BlockHash, message::QRInfo};
use spv_testkit::{Fault, PeerProfile, RecordedPeer};

use self::support::{ALL, assert_complete, recording, run};

/// Browsers that make a picture of a page without a window.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

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
    let page = report(&directory.path().join("report.html")).await;
    for mark in ["mark stall", "bar refused", "bar false", "mark ban", "was banned, because it sent a false reply"] {
        assert!(page.contains(mark), "no {mark}");
    }
    assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="), "it needs other files");
    assert!(page.len() < 500_000, "{} bytes", page.len());

    let version = |browser: &&str| Command::new(browser).arg("--version").output().is_ok();
    let Some(browser) = BROWSERS.into_iter().find(|browser| version(browser)) else {
        eprintln!("skipped: no browser is installed, so no picture of the page is made");
        return;
    };
    for scheme in ["light", "dark"] {
        look(browser, directory.path(), &page, scheme);
    }
}

/// Opens the page at the widths of a screen and a phone, side by side, and checks the picture and the probe's finding.
fn look(browser: &str, directory: &Path, page: &str, scheme: &str) {
    let framed = (page.to_owned() + PROBE).replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width| format!("<iframe style=border:0 width={width} height=1600 srcdoc=\"{framed}\"></iframe>");
    let (file, picture) = (directory.join("frames.html"), directory.join("picture.png"));
    let body = format!("<title></title><body style=margin:0;white-space:nowrap>{}{}", frame(1200), frame(400));
    std::fs::write(&file, format!("<!doctype html><meta charset=utf-8>{body}")).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--dump-dom"])
        .args((scheme == "dark").then_some("--blink-settings=preferredColorScheme=0"))
        .arg(format!("--user-data-dir={}", directory.join("profile").display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg("--window-size=1600,1600")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document = String::from_utf8_lossy(&output.stdout);
    let title = document.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).unwrap().0;
    let mut findings: Vec<_> = title.split_terminator(';').map(str::trim).collect();
    findings.sort();
    assert_eq!(findings, [1200, 400].map(|width| format!("{width} pixels, {scheme}:")));
    assert!(std::fs::metadata(&picture).unwrap().len() > 50_000, "the picture is empty");
}

/// A script that names what is wrong with the page, in the title of the page around it.
const PROBE: &str = r#"<script>
addEventListener("load", () => {
    const faults = [];
    const root = document.documentElement;
    if (root.scrollWidth > innerWidth) faults.push(`${root.scrollWidth} pixels wide`);
    if (performance.getEntriesByType("resource").length > 0) faults.push("it loads other files");
    for (const kind of [".mark.stall", ".bar.refused", ".bar.false", ".mark.ban"]) {
        const name = ".incidents .badge." + kind.split(".").pop();
        for (const [selector, width] of [[kind, 2], [name, 40]]) {
            const box = document.querySelector(selector)?.getBoundingClientRect();
            const isSeen = box && box.width >= width && box.height >= 10 && box.left >= 0 && box.right <= innerWidth;
            if (!isSeen) faults.push("unseen: " + selector);
        }
        const element = document.querySelector(kind);
        if (element?.tabIndex !== 0) faults.push("no key leads to " + kind);
        element?.focus({ preventScroll: true });
        const details = element && getComputedStyle(element, "::after");
        // A window without the focus shows no details.
        if (document.hasFocus() && details?.position !== "fixed") faults.push("no details: " + kind);
    }
    const scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    parent.document.title += `${innerWidth} pixels, ${scheme}: ${faults.join(", ")};`;
});
</script>"#;
