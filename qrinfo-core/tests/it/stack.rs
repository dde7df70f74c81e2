//! The words between the layers of a stack: failures, their reasons, and the table of peers.

use std::{
    error::Error,
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use qrinfo_core::{
    AttemptError, AttemptErrorKind as Kind, BlockHash, DEFAULT_WINDOW_BYTES, GivenUp, KnownPeer, PeerId, PeerTable,
    Timing, WhyGivenUp,
    client::{ClientError, NamedNetworkManager, NetworkManager},
    message::{GetQRInfo, NetworkMessage},
    retry::Rest,
};

use crate::retry::start;

fn peer(number: u8) -> PeerId {
    PeerId::from(([203, 0, 113, number], 9999))
}

const KINDS: [(Kind, &str); 10] = [
    (Kind::Timeout, "timeout"),
    (Kind::Disconnected, "disconnected"),
    (Kind::Refused, "refused"),
    (Kind::NotSent, "not_sent"),
    (Kind::Malformed, "malformed"),
    (Kind::False, "false"),
    (Kind::Overloaded, "overloaded"),
    (Kind::Cancelled, "cancelled"),
    (Kind::NoPeer, "no_peer"),
    (Kind::Local, "local"),
];

#[test]
fn the_default_window_is_768_kib() {
    assert_eq!(DEFAULT_WINDOW_BYTES, 786_432);
}

#[test]
fn an_error_says_what_it_was_given() {
    let now = start();
    let timing = Timing { peer: peer(1), sent: now, head: None, first_byte: None, done: now, bytes: 7 };
    let bare = AttemptError::new(Kind::Local);
    assert_eq!((bare.peer(), bare.timing()), (None, None));
    assert!(bare.source().is_none() && bare.into_source().is_none());
    let earlier = vec![AttemptError::new(Kind::Refused)];
    let mut error = AttemptError::new(Kind::False).at(peer(1)).timed(timing).because("a cause").after(earlier);
    assert_eq!((error.kind(), error.peer(), error.timing()), (Kind::False, Some(peer(1)), Some(timing)));
    assert_eq!(error.to_string(), "203.0.113.1:9999: sent a false reply");
    assert_eq!(error.source().map(ToString::to_string), Some("a cause".to_owned()));
    assert_eq!(error.take_earlier().iter().map(AttemptError::kind).collect::<Vec<_>>(), [Kind::Refused]);
    assert!(error.take_earlier().is_empty());
    assert_eq!(error.into_source().map(|cause| cause.to_string()), Some("a cause".to_owned()));
}

#[test]
fn each_kind_has_its_label_and_two_are_silence() {
    for (kind, label) in KINDS {
        assert_eq!(kind.label(), label);
        assert_eq!(AttemptError::new(kind).is_silence(), matches!(kind, Kind::Timeout | Kind::Disconnected));
    }
}

#[test]
fn a_request_ended_in_silence_if_nobody_said_anything() {
    let given_up =
        |why, kinds: &[Kind]| GivenUp { why, attempts: kinds.iter().copied().map(AttemptError::new).collect() };
    for why in [WhyGivenUp::Exhausted, WhyGivenUp::DeadlinePassed] {
        assert!(given_up(why, &[Kind::Timeout, Kind::Disconnected]).is_silence());
        assert!(!given_up(why, &[Kind::Timeout, Kind::Refused]).is_silence());
        assert!(!given_up(why, &[]).is_silence());
    }
    assert!(!given_up(WhyGivenUp::AllPeersGone, &[Kind::Timeout]).is_silence());
}

#[test]
fn the_last_failure_or_the_reason_is_the_error_of_a_request() {
    let kinds = [Kind::False, Kind::Disconnected];
    let error = |why, kinds: &[Kind]| {
        GivenUp { why, attempts: kinds.iter().copied().map(AttemptError::new).collect() }.into_error()
    };
    for (why, kind, without_attempts) in [
        (WhyGivenUp::Unanswerable, Kind::Refused, Kind::Refused),
        (WhyGivenUp::Exhausted, Kind::Disconnected, Kind::Local),
        (WhyGivenUp::DeadlinePassed, Kind::Timeout, Kind::Timeout),
        (WhyGivenUp::NoPeers, Kind::NoPeer, Kind::NoPeer),
        (WhyGivenUp::AllPeersGone, Kind::Disconnected, Kind::Local),
        (WhyGivenUp::NoOtherPeer, Kind::Disconnected, Kind::Local),
        (WhyGivenUp::Silence, Kind::Timeout, Kind::Timeout),
        (WhyGivenUp::SyncDeadlinePassed, Kind::Timeout, Kind::Timeout),
        (WhyGivenUp::Stopped, Kind::Cancelled, Kind::Cancelled),
        (WhyGivenUp::LocalFailure, Kind::Disconnected, Kind::Local),
    ] {
        assert_eq!((error(why, &kinds).kind(), error(why, &[]).kind()), (kind, without_attempts), "{why:?}");
    }
    let source = error(WhyGivenUp::NoPeers, &kinds).into_source().unwrap();
    assert_eq!(
        source.to_string(),
        "no peer was available; check the network (sent a false reply; the connection ended before the reply)"
    );
    assert_eq!(source.source().unwrap().to_string(), "the connection ended before the reply");
    let alone = error(WhyGivenUp::NoPeers, &[]).into_source().unwrap();
    assert_eq!(alone.to_string(), "no peer was available; check the network");
    assert!(alone.source().is_none());
}

#[test]
fn a_table_knows_who_can_be_asked() {
    let known = |height, is_spent| KnownPeer { height, is_spent };
    let table = PeerTable::new([(peer(1), known(10, false)), (peer(2), known(9, false)), (peer(3), known(10, true))]);
    assert_eq!((table.len(), table.is_empty(), table.had_peers), (3, false, true));
    assert_eq!(
        table.iter().map(|(peer, known)| (peer, known.height)).collect::<Vec<_>>(),
        [(peer(1), 10), (peer(2), 9), (peer(3), 10)]
    );
    assert!(table.has_other_than(&[]) && table.has_other_than(&[peer(1)]));
    assert!(!table.has_other_than(&[peer(1), peer(2)]), "the third is spent");

    assert!(table.all_refused(10, &[peer(1), peer(3)]), "the second is too low");
    assert!(!table.all_refused(9, &[peer(1), peer(3)]));
    assert!(table.all_refused(9, &[peer(1), peer(2), peer(3)]));
    assert!(!table.all_refused(11, &[peer(1)]), "one refusal proves nothing");
    assert!(table.all_refused(11, &[peer(1), peer(2)]));

    let empty = PeerTable::new([]);
    assert_eq!((empty.len(), empty.is_empty(), empty.had_peers), (0, true, false));
    assert!(!empty.has_other_than(&[]));
}

#[test]
fn a_rest_doubles_from_5_s_to_300_s_until_the_peer_answers() {
    let (now, mut rest) = (start(), Rest::default());
    let rests: Vec<_> = (0..9).map(|_| rest.failed(now).duration_since(now).as_secs()).collect();
    assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    rest.answered();
    assert_eq!(rest.failed(now), now + Duration::from_secs(5));
}

#[test]
fn a_peer_with_a_name_has_no_address() {
    let named: PeerId = "seed.example.org:9999".parse().unwrap();
    assert_eq!(named.address(), None);
    assert_eq!(peer(5).address(), Some(([203, 0, 113, 5], 9999).into()));
    let PeerId::Name(name) = named else { panic!("{named}") };
    assert_eq!(
        (name.as_str(), format!("{name:?}")),
        ("seed.example.org:9999", "PeerName(seed.example.org:9999)".into())
    );
    assert_eq!("x".repeat(70).parse::<PeerId>().unwrap().to_string(), "x".repeat(70));
}

/// A network with one peer that keeps what is sent.
#[derive(Default)]
struct Recorder(Vec<NetworkMessage>);

#[async_trait::async_trait]
impl NetworkManager for Recorder {
    async fn connect(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    async fn disconnect(&mut self) -> Result<(), ClientError> {
        Ok(())
    }

    async fn send_message(&mut self, message: NetworkMessage) -> Result<(), ClientError> {
        self.0.push(message);
        Ok(())
    }

    async fn receive_message(&mut self) -> Result<Option<NetworkMessage>, ClientError> {
        Ok(None)
    }

    fn is_connected(&self) -> bool {
        true
    }

    fn peer_count(&self) -> usize {
        1
    }

    async fn get_peer_best_height(&self) -> Result<Option<u32>, ClientError> {
        Ok(None)
    }
}

#[async_trait::async_trait]
impl NamedNetworkManager for Recorder {
    fn peers(&self) -> Vec<PeerId> {
        vec![peer(1)]
    }

    async fn send_to(&mut self, _: PeerId, message: NetworkMessage) -> Result<(), ClientError> {
        self.send_message(message).await
    }

    async fn receive_from(&mut self) -> Result<Option<(PeerId, NetworkMessage)>, ClientError> {
        Ok(None)
    }
}

#[test]
fn a_network_asks_for_quorums_by_a_message_and_knows_no_heights_by_itself() {
    let mut network = Recorder::default();
    let asked = GetQRInfo { base_block_hashes: vec![BlockHash::ZERO], block_hash: BlockHash::ZERO, extra_share: true };
    let sent = network.request_qr_info(asked.base_block_hashes.clone(), asked.block_hash, true);
    assert!(pin!(sent).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    assert_eq!(network.0, [NetworkMessage::GetQRInfo(asked)]);
    assert_eq!(network.peer_height(peer(1)), None);
}
