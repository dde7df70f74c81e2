//! Loading: order of the sources, errors of unknown and malformed settings, and hostile texts.

mod support;

use std::{error::Error, ffi::OsString, fs, path::PathBuf, time::Duration};

use proptest::prelude::*;
use spv_config::{ClientConfig, LoadError, Network, Place};
use support::Set as _;
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../client.toml");
const NOTHING: [(&str, &str); 0] = [];

#[allow(clippy::unwrap_used)]
fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("client.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn bad(result: Result<ClientConfig, LoadError>) -> Vec<String> {
    match result {
        // Which units there are is said by a library in words of its own.
        Err(LoadError::Settings(settings)) => settings
            .iter()
            .map(ToString::to_string)
            .map(|text| {
                text.split_once(": unknown time unit")
                    .or(text.split_once(": time unit needed"))
                    .map_or(text.clone(), |(ours, _)| ours.to_owned())
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn environment<const N: usize>(variables: [(&str, &str); N]) -> Result<ClientConfig, LoadError> {
    ClientConfig::from_sources(None, variables)
}

#[test]
fn defaults_give_way_to_the_file_and_the_file_to_the_environment() {
    let (_directory, path) = file("network = 'testnet'\nmax_peers = 5\nmessage_timeout = '1m 30s'");
    let variables =
        [("QRINFO_MAX_PEERS", "6"), ("QRINFO_SYNC_TIMEOUT", "7m"), ("PATH", "/bin"), ("QRINFO_NETWORK", "")];
    let config = ClientConfig::from_sources(Some(&path), variables).unwrap();
    let expected = ClientConfig::testnet()
        .set(|c| c.max_peers = 6)
        .with_message_timeout(Duration::from_secs(90))
        .with_sync_timeout(Duration::from_secs(420));
    assert_eq!(config, expected);
}

#[test]
fn each_source_alone() {
    assert_eq!(ClientConfig::from_toml("").unwrap(), ClientConfig::default());
    assert_eq!(environment(NOTHING).unwrap(), ClientConfig::default());
    let (_directory, path) = file("max_peers = 5");
    assert_eq!(
        ClientConfig::from_sources(Some(&path), NOTHING).unwrap(),
        ClientConfig::default().set(|c| c.max_peers = 5)
    );
}

#[test]
fn a_devnet_is_a_table_or_a_name() {
    let genesis = "0a".repeat(32);
    let text = format!(
        "network = 'devnet'\n[devnet]\nname = 'paloma'\ngenesis = '{genesis}'\nport = 20001\nseeds = ['one.example']\n\
         rotated_type = 103\nrotated_size = 8\nrotated_threshold = 5\nrotated_interval = 48\nchain_locks_type = 104"
    );
    let (_directory, path) = file(&text);
    let variables = [("QRINFO_DEVNET_ROTATED_SIZE", "12"), ("QRINFO_DEVNET_SEEDS", "a.example, b.example:1")];
    let config = ClientConfig::from_sources(Some(&path), variables).unwrap();
    config.validate().unwrap();
    assert_eq!(config.devnet.name.as_deref(), Some("paloma"));
    assert_eq!(
        (config.devnet.port, &config.devnet.seeds[..]),
        (Some(20_001), &["a.example".into(), "b.example:1".into()][..])
    );
    let network = config.network();
    let rotated = network.rotated_params();
    assert_eq!((rotated.llmq_type.0, rotated.size, rotated.min_size, rotated.threshold), (103, 12, 5, 5));
    assert_eq!((rotated.interval, rotated.active, network.chain_lock_llmq().0), (48, 2, 104));
    assert_eq!(config.devnet.genesis, Some(genesis.parse().unwrap()));

    let short = ClientConfig::from_toml("network = 'devnet'\ndevnet = 'paloma'").unwrap();
    assert_eq!(short, ClientConfig::new(Network::DEVNET).set(|c| c.devnet.name = Some("paloma".into())));
    assert_eq!(short.network(), Network::DEVNET);
    assert_eq!(
        bad(ClientConfig::from_toml("[devnet]\nrotated_sise = 4\ngenesis = '12'")),
        [
            "the text, line 1: devnet.genesis is invalid: a hash is written as 64 hexadecimal digits; got \"12\"",
            "the text, line 1: devnet.rotated_sise is not a setting; did you mean devnet.rotated_size?",
        ]
    );
}

#[test]
fn every_variable_is_read() {
    let config = environment([
        ("QRINFO_NETWORK", "devnet"),
        ("QRINFO_PEERS", "192.0.2.1:1, [2001:db8::1]:2,"),
        ("QRINFO_MAX_PEERS", "9"),
        ("QRINFO_PROXY", "127.0.0.1:9050"),
        ("QRINFO_DEVNET", "333"),
        // Not a number, though it looks like one.
        ("QRINFO_STORAGE_PATH", "123"),
        ("QRINFO_MAX_CONCURRENT_FILTER_REQUESTS", "10"),
        ("QRINFO_CONNECTION_TIMEOUT", "11s"),
        ("QRINFO_MESSAGE_TIMEOUT", "500ms"),
        ("QRINFO_SYNC_TIMEOUT", "1h 1s"),
        ("QRINFO_TOTAL_TIMEOUT", "2h"),
    ]);
    let expected = ClientConfig::new(Network::DEVNET)
        .set(|c| c.peers = Vec::from_iter(["192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap()]))
        .set(|c| c.max_peers = 9)
        .set(|c| c.proxy = Some("127.0.0.1:9050".parse().unwrap()))
        .set(|c| c.devnet.name = Some("333".into()))
        .set(|c| c.storage_path = Some("123".into()))
        .with_max_concurrent_filter_requests(10)
        .set(|c| c.connection_timeout = Duration::from_secs(11))
        .with_message_timeout(Duration::from_millis(500))
        .with_sync_timeout(Duration::from_secs(3_601))
        .set(|c| c.total_timeout = Some(Duration::from_secs(7_200)));
    assert_eq!(config.unwrap(), expected);
}

#[cfg(feature = "parallel-qrinfo")]
#[test]
fn every_variable_of_parallel_requests_is_read() {
    let config = environment([
        ("QRINFO_MAX_CONCURRENT_QRINFO_REQUESTS", "4"),
        ("QRINFO_ENABLE_ADAPTIVE_QRINFO_CONCURRENCY", "false"),
        ("QRINFO_PARALLEL_TIMEOUT", "5s"),
        ("QRINFO_REQUESTS_PER_SECOND", "6"),
        ("QRINFO_REQUESTS_PER_SECOND_PER_PEER", "0.5"),
        ("QRINFO_WINDOW_BYTES", "7000000"),
        ("QRINFO_MAX_ATTEMPTS", "8"),
        ("QRINFO_FIRST_BACKOFF", "9ms"),
        ("QRINFO_LONGEST_BACKOFF", "10s"),
        ("QRINFO_RETRY_BUDGET", "0.11"),
        ("QRINFO_RETRY_BUDGET_PER_SECOND", "12"),
        ("QRINFO_NETWORK_TIMEOUT", "13s"),
        ("QRINFO_SEQUENTIAL_FALLBACK", "14s"),
    ]);
    let expected = ClientConfig::default()
        .with_parallel_qrinfo_settings(4, false, Duration::from_secs(5))
        .set(|c| (c.qrinfo_requests_per_second, c.qrinfo_requests_per_second_per_peer) = (Some(6.0), Some(0.5)))
        .set(|c| c.qrinfo_window_bytes = 7_000_000)
        .set(|c| c.qrinfo_max_attempts = 8)
        .set(|c| {
            (c.qrinfo_first_backoff, c.qrinfo_longest_backoff) =
                (Some(Duration::from_millis(9)), Duration::from_secs(10))
        })
        .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.11, 12.0))
        .set(|c| c.qrinfo_network_timeout = Duration::from_secs(13))
        .set(|c| c.qrinfo_sequential_fallback = Duration::from_secs(14));
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn unknown_names_are_refused_with_the_one_that_was_meant() {
    let (_directory, path) = file("max_peer = 4\nsync-timeout = '1s'\nzzz = 1\n[network]\nname = 'testnet'");
    let variables = [("QRINFO_NETWROK", "testnet"), ("QRINFO_SCHEDULES", "10000"), ("QRINFO_max_peers", "1")];
    let shown = path.display();
    assert_eq!(
        bad(ClientConfig::from_sources(Some(&path), variables)),
        [
            format!("{shown}, line 1: max_peer is not a setting; did you mean max_peers?"),
            format!("{shown}, line 2: sync-timeout is not a setting; did you mean sync_timeout?"),
            format!("{shown}, line 3: zzz is not a setting; remove it"),
            format!("{shown}, line 4: network is invalid: expected a text, found map"),
            "the environment: QRINFO_NETWROK is not a setting; did you mean QRINFO_NETWORK?".to_owned(),
            "the environment: QRINFO_SCHEDULES is not a setting; remove it".to_owned(),
            "the environment: QRINFO_max_peers is not a setting; did you mean QRINFO_MAX_PEERS?".to_owned(),
        ]
    );
}

#[test]
fn values_of_another_kind_are_refused() {
    let text = "network = 'main'\npeers = ['seed.example:9999']\nmax_peers = -1\nconnection_timeout = 30\n\
                message_timeout = '30'\nsync_timeout = '30 parsecs'\nstorage_path = 1\n\
                max_concurrent_filter_requests = '16'";
    assert_eq!(
        bad(ClientConfig::from_toml(text)),
        [
            "the text, line 1: network is invalid: \"main\" is not a Dash network; use mainnet, testnet, devnet or \
             regtest",
            "the text, line 2: peers is invalid: \"seed.example:9999\" is not an IP address with a port, such as \
             \"192.0.2.1:9999\" or \"[2001:db8::1]:9999\"",
            "the text, line 3: max_peers is invalid: expected a whole number from 0 to 4294967295, found integer `-1`",
            "the text, line 4: connection_timeout is invalid: expected a duration with a unit, such as \"30s\" or \
             \"500ms\", found integer `30`",
            "the text, line 5: message_timeout is invalid: \"30\" is not a duration such as \"30s\" or \"500ms\"",
            "the text, line 6: sync_timeout is invalid: \"30 parsecs\" is not a duration such as \"30s\" or \"500ms\"",
            "the text, line 7: storage_path is invalid: expected a text, found integer `1`",
            "the text, line 8: max_concurrent_filter_requests is invalid: expected a whole number, 0 or more, found \
             string \"16\"",
        ]
    );
}

#[test]
fn variables_of_another_kind_are_refused() {
    assert_eq!(
        bad(environment([("QRINFO_MAX_PEERS", "many"), ("QRINFO_PEERS", "192.0.2.1"), ("QRINFO_SYNC_TIMEOUT", "5")])),
        [
            "the environment: QRINFO_MAX_PEERS is invalid: expected a whole number from 0 to 4294967295, found string \
             \"many\"",
            "the environment: QRINFO_PEERS is invalid: \"192.0.2.1\" is not an IP address with a port, such as \
             \"192.0.2.1:9999\" or \"[2001:db8::1]:9999\"",
            "the environment: QRINFO_SYNC_TIMEOUT is invalid: \"5\" is not a duration such as \"30s\" or \"500ms\"",
        ]
    );
}

#[cfg(unix)]
#[test]
fn only_our_variables_have_to_be_unicode() {
    use std::os::unix::ffi::OsStringExt;

    let garbage = || OsString::from_vec(vec![0xff]);
    let variables = [(garbage(), garbage()), ("HOME".into(), garbage()), ("QRINFO_NETWORK".into(), garbage())];
    assert_eq!(
        bad(ClientConfig::from_sources(None, variables)),
        ["the environment: QRINFO_NETWORK is not valid Unicode: set it to a UTF-8 text"]
    );
}

#[test]
fn what_is_no_configuration_file() {
    let load = |path: &PathBuf| ClientConfig::from_sources(Some(path), NOTHING).unwrap_err();

    let (directory, path) = file("max_peers = ");
    let error = load(&path);
    assert!(matches!(&error, LoadError::Syntax { place: Place::File(place), .. } if *place == path), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("line 1"), "{error:?}");

    fs::write(&path, [b'#', 0xff]).unwrap();
    assert!(matches!(load(&path), LoadError::Syntax { .. }));

    // Cut off within a letter of two bytes, it is too long nevertheless.
    fs::write(&path, format!("#{}", "é".repeat(32 << 10))).unwrap();
    assert!(matches!(load(&path), LoadError::TooLong { .. }));
    fs::write(&path, format!("#{}", "x".repeat((64 << 10) - 1))).unwrap();
    assert!(ClientConfig::from_sources(Some(&path), NOTHING).is_ok());
    assert!(matches!(ClientConfig::from_toml(&"#".repeat((64 << 10) + 1)), Err(LoadError::TooLong { .. })));

    let missing = directory.path().join("missing.toml");
    let error = load(&missing);
    assert_eq!(error.to_string(), format!("{} cannot be read", missing.display()));
    assert!(matches!(load(&directory.path().to_owned()), LoadError::Read { .. }));
}

/// Neither nesting nor length brings it to its knees.
#[test]
fn malicious_texts_are_refused() {
    let length = 64 << 10;
    for text in [
        format!("peers = {}", "[".repeat(length - 8)),
        format!("peers = {}", "{a=".repeat((length - 8) / 3)),
        format!("{}a = 1", "a.".repeat((length - 5) / 2)),
        format!("[{}a]", "a.".repeat((length - 3) / 2)),
        (0..5_000).map(|n| format!("max_peers{n}=1\n")).collect::<String>()[..length - 6].to_owned(),
    ] {
        assert!(ClientConfig::from_toml(&text).is_err());
    }
}

#[test]
fn the_example_is_what_it_says() {
    let peers = ["192.0.2.1:9999", "[2001:db8::1]:9999"].map(|peer| peer.parse().unwrap());
    let expected = ClientConfig::default().set(|c| c.peers = Vec::from_iter(peers));
    #[cfg(feature = "parallel-qrinfo")]
    {
        let (attempt, backoff) = (expected.qrinfo_parallel_timeout(), expected.qrinfo_first_backoff());
        let longest = expected.qrinfo_longest_backoff;
        let expected = expected
            .clone()
            .with_parallel_qrinfo_settings(expected.max_concurrent_qrinfo_requests(), true, attempt)
            .set(|c| (c.qrinfo_first_backoff, c.qrinfo_longest_backoff) = (Some(backoff), longest));
        assert_eq!(ClientConfig::from_toml(EXAMPLE).unwrap(), expected);
    }
    let (plain, _) = EXAMPLE.split_once("# With the feature").unwrap();
    assert_eq!(ClientConfig::from_toml(plain).unwrap(), expected);
    #[cfg(not(feature = "parallel-qrinfo"))]
    {
        let Err(LoadError::Settings(bad)) = ClientConfig::from_toml(EXAMPLE) else { panic!() };
        assert!(bad.iter().all(|bad| bad.reason == spv_config::BadSettingReason::NeedsFeature), "{bad:?}");
        assert_eq!(bad.len(), 11);
    }
}

#[test]
fn what_is_commented_out_in_the_example_can_be_used() {
    let text: String = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("# With"))
        .fold(String::new(), |text, line| text + line.strip_prefix("# ").unwrap_or(line) + "\n");
    let (plain, parallel) = text.split_once("max_concurrent_qrinfo_requests").unwrap();
    let config = ClientConfig::from_toml(plain).unwrap();
    assert!(config.storage_path.is_some() && config.total_timeout.is_some());
    assert!(parallel.contains("\nqrinfo_requests_per_second ="));
    if cfg!(feature = "parallel-qrinfo") {
        ClientConfig::from_toml(&text).unwrap().validate().unwrap();
    }
}

#[cfg(not(feature = "parallel-qrinfo"))]
#[test]
fn settings_of_the_feature_are_refused_by_its_name() {
    let expected = "QRINFO_MAX_ATTEMPTS needs the feature parallel-qrinfo: build this program with the feature, or \
                    remove the setting";
    assert_eq!(bad(environment([("QRINFO_MAX_ATTEMPTS", "3")])), [format!("the environment: {expected}")]);
    let mistyped = bad(ClientConfig::from_toml("qrinfo_max_attempt = 3"));
    assert!(!mistyped[0].contains("qrinfo_max_attempts"), "{mistyped:?}");
}

#[test]
fn written_as_toml_it_reads_the_same() {
    let peer = "192.0.2.1:9999".parse().unwrap();
    #[allow(unused_mut)]
    let mut configs = vec![
        ClientConfig::default(),
        ClientConfig::regtest()
            .set(|c| c.peers = Vec::from_iter([peer]))
            .set(|c| c.storage_path = Some("a place".into()))
            .with_message_timeout(Duration::from_nanos(1_000_000_001)),
    ];
    #[cfg(feature = "parallel-qrinfo")]
    configs.push(
        ClientConfig::default()
            .set(|c| (c.qrinfo_requests_per_second, c.qrinfo_requests_per_second_per_peer) = (Some(0.1), Some(3.0)))
            .set(|c| (c.qrinfo_retry_budget, c.qrinfo_retry_budget_per_second) = (0.1, 2.0)),
    );
    for config in configs {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(ClientConfig::from_toml(&text).unwrap(), config, "{text}");
        assert_eq!(toml::from_str::<ClientConfig>(&text).unwrap(), config, "{text}");
    }
    assert!(toml::from_str::<ClientConfig>("max_peer = 1").is_err());
}

fn setting() -> impl Strategy<Value = String> {
    let key = prop_oneof!["[a-z_.\"]{0,12}", "(network|peers|max_peers|storage_path|sync_timeout|qrinfo_retry_budget)"];
    let value = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|x| format!("{x:?}")),
        "(nan|inf|-inf|true|\\[\\]|\\{\\}|1979-05-27|0x10)",
        "[ -~]{0,20}",
        "[0-9]{1,25}(ns|ms|s|m|h|d|y| )".prop_map(|text| format!("'{text}'")),
        "\\PC{0,20}".prop_map(|text| format!("'{text}'")),
    ];
    (key, value).prop_map(|(key, value)| format!("{key} = {value}\n"))
}

proptest! {
    #[test]
    fn no_text_makes_loading_panic(text in "(\\PC|[\\n\\r\\t\\[\\]{}=.'\"]){0,200}") {
        let _ = ClientConfig::from_toml(&text).map_err(|error| error.to_string());
    }

    #[test]
    fn no_setting_makes_loading_panic(settings in proptest::collection::vec(setting(), 0..6)) {
        if let Ok(config) = ClientConfig::from_toml(&settings.concat()) {
            let _ = config.validate();
        }
    }

    #[test]
    fn no_variable_makes_loading_panic(name in "(QRINFO_)?(MAX_PEERS|PEERS|SYNC_TIMEOUT|\\PC{0,20})", value in "\\PC{0,40}") {
        if let Ok(config) = ClientConfig::from_sources(None, [(name, value)]) {
            let _ = config.validate();
        }
    }

    #[test]
    fn a_duration_reads_as_it_is_written(duration: Duration) {
        let config = ClientConfig::default().with_sync_timeout(duration);
        prop_assert_eq!(ClientConfig::from_toml(&toml::to_string(&config).unwrap()).unwrap(), config);
    }
}
