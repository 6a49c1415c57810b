use super::*;
use crate::{NodeError, TransportConfig};
use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt};
use hedgerow_protocol::{Address, Config, DialId, Keypair, LinkId, PeerKey};
use libp2p::Stream;
use std::time::Duration;
use tokio::sync::mpsc;

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

async fn start(secret: u8, listen: &[&str]) -> Result<Transport, NodeError> {
    let listen = listen
        .iter()
        .map(|address| address.parse().expect("valid"))
        .collect();
    let config = TransportConfig {
        listen,
        ..TransportConfig::default()
    };
    Transport::start(&identity(secret), &Config::default(), &config).await
}

fn identity(secret: u8) -> Keypair {
    Keypair::from_secret([secret; 32])
}

async fn dial(from: &Transport, dial: u64, peer: Option<PeerKey>, addresses: Vec<Address>) {
    dial_for(Duration::from_secs(60), from, dial, peer, addresses).await;
}

async fn dial_for(
    timeout: Duration,
    from: &Transport,
    dial: u64,
    peer: Option<PeerKey>,
    addresses: Vec<Address>,
) {
    let dial = DialId(dial);
    from.requests
        .send(Request::Dial {
            dial,
            peer,
            addresses,
            timeout,
        })
        .await
        .expect("runs");
}

/// The next link: who, as the answer to which dial, and its stream.
async fn linked(transport: &mut Transport) -> (PeerKey, Option<DialId>, Stream) {
    loop {
        match transport.events.recv().await.expect("runs") {
            TransportEvent::Linked {
                peer, dial, stream, ..
            } => return (peer, dial, stream),
            TransportEvent::DialFailed { dial } => panic!("{dial:?} failed"),
            TransportEvent::Addresses(_) | TransportEvent::Discovered(_) => {}
        }
    }
}

async fn failed(transport: &mut Transport) -> DialId {
    loop {
        match transport.events.recv().await.expect("runs") {
            TransportEvent::DialFailed { dial } => return dial,
            TransportEvent::Linked { peer, .. } => panic!("a link to {peer}"),
            TransportEvent::Addresses(_) | TransportEvent::Discovered(_) => {}
        }
    }
}

async fn linked_pair(listen: &str) {
    let mut listener = start(1, &[listen]).await.expect("listens");
    let mut dialler = start(2, &[]).await.expect("starts");
    let at = listener.addresses();
    dial(&dialler, 7, Some(identity(1).peer()), at).await;
    let ((who, answers, mut near), (caller, none, mut far)) =
        futures::join!(linked(&mut dialler), linked(&mut listener));
    assert_eq!((who, answers), (identity(1).peer(), Some(DialId(7))));
    assert_eq!((caller, none), (identity(2).peer(), None));
    // Full duplex on the one substream.
    let echo = async {
        let mut buffer = [0; 5];
        far.read_exact(&mut buffer).await.expect("reads");
        far.write_all(&buffer).await.expect("writes");
        far.flush().await.expect("flushes");
    };
    let call = async {
        near.write_all(b"hello").await.expect("writes");
        near.flush().await.expect("flushes");
        let mut buffer = [0; 5];
        near.read_exact(&mut buffer).await.expect("reads");
        assert_eq!(&buffer, b"hello");
    };
    futures::join!(call, echo);
    dialler.stop().await;
    drop(near);
    // The other end notices.
    assert!(matches!(far.read(&mut [0; 1]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_dial_over_tcp_gives_both_ends_one_stream() {
    linked_pair(TCP).await;
}

#[tokio::test]
async fn a_dial_over_quic_gives_both_ends_one_stream() {
    linked_pair(QUIC).await;
}

/// Connections from one address that say nothing take no place from another address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_connections_from_one_address_keep_nobody_else_out() {
    let mut engine = Config::default();
    engine.limits.trusted.clear();
    let config = TransportConfig {
        listen: vec![TCP.parse().expect("valid")],
        ..TransportConfig::default()
    };
    let listener = Transport::start(&identity(1), &engine, &config).await;
    let mut listener = listener.expect("listens");
    let at = listener.addresses();
    let mut parts = at[0].as_str().split('/').skip_while(|part| *part != "tcp");
    let port: u16 = parts
        .nth(1)
        .and_then(|port| port.parse().ok())
        .expect("TCP");
    let mut silent = Vec::new();
    for _ in 0..2 * config.pending_max {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let from = "127.0.0.2:0".parse().expect("valid");
        socket.bind(from).expect("Linux has all of 127.0.0.0/8");
        let to = format!("127.0.0.1:{port}").parse().expect("valid");
        silent.push(socket.connect(to).await.expect("the kernel accepts"));
    }
    let mut dialler = start(2, &[]).await.expect("starts");
    dial(&dialler, 7, Some(identity(1).peer()), at).await;
    let ((who, ..), (caller, ..)) = futures::join!(linked(&mut dialler), linked(&mut listener));
    assert_eq!((who, caller), (identity(1).peer(), identity(2).peer()));
    let most = engine.limits.pending_per_address as u64;
    assert_eq!(listener.denied(), silent.len() as u64 - most);
    dialler.stop().await;
    listener.stop().await;
}

const LIMITS: LinkLimits = LinkLimits {
    read_bytes: 64 << 10,
    backpressure_bytes_per_s: 1 << 20,
    report_bytes: 8 << 10,
    close: Duration::from_secs(60),
};

/// More than sockets and all that lies between hold.
const MESSAGES: usize = 256;
const MESSAGE_BYTES: usize = 64 << 10;

/// A link with [`MESSAGES`] queued, its events, and its task.
fn busy_link(
    stream: Stream,
) -> (
    LinkHandle,
    mpsc::Receiver<(LinkId, LinkEvent)>,
    impl Future<Output = ()>,
) {
    let (tell, events) = mpsc::channel(16);
    let (handle, task) = LinkHandle::new(LinkId(1), stream, LIMITS, tell);
    for number in 0..MESSAGES {
        let head = Bytes::copy_from_slice(&(number as u64).to_be_bytes());
        handle.send([head, vec![number as u8; MESSAGE_BYTES].into()]);
    }
    (handle, events, task)
}

/// All that comes until the link is lost, or has brought as much as [`busy_link`] sends.
async fn receive(mut events: mpsc::Receiver<(LinkId, LinkEvent)>) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < MESSAGES * (8 + MESSAGE_BYTES)
        && let Some((_, event)) = events.recv().await
    {
        if let LinkEvent::Bytes(bytes) = event {
            got.extend_from_slice(&bytes);
        }
    }
    got
}

fn assert_whole(got: &[u8]) {
    let message = |number: usize| {
        let head = (number as u64).to_be_bytes();
        let payload = std::iter::repeat_n(number as u8, MESSAGE_BYTES);
        head.into_iter().chain(payload)
    };
    assert_eq!(got.len(), MESSAGES * (8 + MESSAGE_BYTES));
    assert!(got.iter().copied().eq((0..MESSAGES).flat_map(message)));
}

/// Two streams of one connection, and the swarms that hold it.
async fn linked_streams() -> (Stream, Stream, [Transport; 2]) {
    let mut listener = start(1, &[TCP]).await.expect("listens");
    let mut dialler = start(2, &[]).await.expect("starts");
    dial(&dialler, 7, None, listener.addresses()).await;
    let (near, far) = futures::join!(linked(&mut dialler), linked(&mut listener));
    (near.2, far.2, [dialler, listener])
}

#[tokio::test]
async fn a_swarm_that_stops_ends_its_streams() {
    let (mut near, _far, [dialler, _listener]) = linked_streams().await;
    dialler.stop().await;
    near.read(&mut [0; 1]).await.expect_err("it is over");
}

#[tokio::test]
async fn both_ends_may_write_more_than_all_buffers_hold() {
    let (near, far, _swarms) = linked_streams().await;
    let (_near, near_events, near_task) = busy_link(near);
    let (_far, far_events, far_task) = busy_link(far);
    let tasks = [tokio::spawn(near_task), tokio::spawn(far_task)];
    let (near, far) = futures::join!(receive(near_events), receive(far_events));
    assert_whole(&near);
    assert_whole(&far);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_closed_link_brings_all_that_was_queued() {
    let (near, far, _swarms) = linked_streams().await;
    let (near, mut near_events, near_task) = busy_link(near);
    // Who closes forgets what comes; the other end, which writes as well, must not wait for that.
    let (_far, far_events, far_task) = busy_link(far);
    near.close();
    let tasks = [tokio::spawn(near_task), tokio::spawn(far_task)];
    assert_whole(&receive(far_events).await);
    while near_events.recv().await.is_some() {}
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn an_unknown_peers_addresses_are_tried_one_by_one() {
    let mut listener = start(1, &[TCP]).await.expect("listens");
    let mut dialler = start(2, &[]).await.expect("starts");
    let nobody = |text: &str| Address::new(text).expect("valid");
    let mut addresses = vec![
        nobody("next door"),
        nobody("/ip4/127.0.0.1/tcp/1"),
        nobody(&format!("/ip4/127.0.0.1/tcp/1/p2p/{}", identity(3).peer())),
        nobody("/unix/nowhere"),
    ];
    addresses.extend(listener.addresses());
    dial(&dialler, 1, None, addresses).await;
    let ((who, answers, _), _) = futures::join!(linked(&mut dialler), linked(&mut listener));
    assert_eq!((who, answers), (identity(1).peer(), Some(DialId(1))));
}

#[tokio::test]
async fn a_dial_that_cannot_work_fails() {
    let listener = start(1, &[TCP]).await.expect("listens");
    let mut dialler = start(2, &[TCP]).await.expect("starts");
    let (there, here) = (listener.addresses(), dialler.addresses());
    // Nothing to try; another peer answers; an address that names another peer; oneself.
    dial(&dialler, 1, None, Vec::new()).await;
    assert_eq!(failed(&mut dialler).await, DialId(1));
    dial(&dialler, 2, Some(identity(3).peer()), there.clone()).await;
    assert_eq!(failed(&mut dialler).await, DialId(2));
    let named = with_peer(&there[0], identity(1).peer()).expect("valid");
    dial(&dialler, 3, Some(identity(3).peer()), vec![named]).await;
    assert_eq!(failed(&mut dialler).await, DialId(3));
    dial(&dialler, 4, Some(identity(2).peer()), here).await;
    assert_eq!(failed(&mut dialler).await, DialId(4));
}

#[tokio::test]
async fn a_peer_that_does_not_speak_the_protocol_fails_the_dial() {
    let mut other = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| libp2p::swarm::dummy::Behaviour)
        .expect("a behaviour")
        .build();
    other
        .listen_on(QUIC.parse().expect("valid"))
        .expect("listens");
    let address = loop {
        use futures::StreamExt;
        let event = other.select_next_some().await;
        if let libp2p::swarm::SwarmEvent::NewListenAddr { address, .. } = event {
            break address;
        }
    };
    let running = tokio::spawn(async move {
        use futures::StreamExt;
        loop {
            other.select_next_some().await;
        }
    });
    let mut dialler = start(2, &[]).await.expect("starts");
    dial(
        &dialler,
        1,
        None,
        vec![to_address(&address).expect("valid")],
    )
    .await;
    assert_eq!(failed(&mut dialler).await, DialId(1));
    running.abort();
}

#[tokio::test]
async fn crossing_dials_give_two_connections() {
    let mut one = start(1, &[TCP]).await.expect("listens");
    let mut other = start(2, &[TCP]).await.expect("listens");
    let (here, there) = (one.addresses(), other.addresses());
    dial(&one, 1, Some(identity(2).peer()), there).await;
    dial(&other, 2, Some(identity(1).peer()), here).await;
    let both = |transport| async move {
        let transport: &mut Transport = transport;
        let mut dials = [linked(transport).await.1, linked(transport).await.1];
        dials.sort();
        dials
    };
    let (ones, others) = futures::join!(both(&mut one), both(&mut other));
    assert_eq!(ones, [None, Some(DialId(1))]);
    assert_eq!(others, [None, Some(DialId(2))]);
}

#[tokio::test]
async fn real_ports_are_told_in_the_order_asked_for() {
    let transport = start(1, &[QUIC, TCP]).await.expect("listens");
    let addresses = transport.listening().borrow().clone();
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let peer = format!("/p2p/{}", identity(1).peer());
    assert_eq!(texts.len(), 2);
    assert!(
        texts[0].contains("/udp/") && texts[1].contains("/tcp/"),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .all(|text| text.ends_with(&peer) && !text.contains("/0/")),
        "{texts:?}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    for listen in [TCP, QUIC] {
        let first = start(1, &[listen]).await.expect("listens");
        let taken = first.addresses()[0].clone();
        let error = start(2, &[taken.as_str()]).await.expect_err("taken");
        let text = error.to_string();
        assert!(
            text.contains(taken.as_str()) && text.contains("in use"),
            "{text}"
        );
        first.stop().await;
        start(2, &[taken.as_str()]).await.expect("released");
    }
}

#[tokio::test]
async fn all_interfaces_are_listened_on_with_both_versions() {
    // A port that is free now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let port = free.expect("a port").port();
    let both = [
        format!("/ip4/0.0.0.0/tcp/{port}"),
        format!("/ip6/::/tcp/{port}"),
    ];
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        // This machine has no IPv6.
        return;
    }
    let transport = start(1, &both).await.expect("listens on both");
    let addresses = transport.addresses();
    let reach = |ip: &str| {
        addresses
            .iter()
            .any(|address| address.as_str().starts_with(ip))
    };
    assert!(
        reach("/ip4/127.0.0.1/") && reach("/ip6/::1/"),
        "{addresses:?}"
    );
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_with_a_remedy() {
    let error = start(1, &["/ip4/127.0.0.1/udp/1"])
        .await
        .expect_err("no transport");
    assert!(error.to_string().contains("quic-v1"), "{error}");
}

#[tokio::test]
async fn a_dial_ends_in_time_and_a_late_connection_is_welcome() {
    let timeout = Duration::from_millis(300);
    let mut listener = start(1, &[TCP]).await.expect("listens");
    let mut dialler = start(2, &[]).await.expect("starts");
    // Connections stand there, and nobody speaks.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0");
    let silent = silent.await.expect("listens");
    let port = silent.local_addr().expect("is bound").port();
    let mute = Address::new(&format!("/ip4/127.0.0.1/tcp/{port}")).expect("valid");
    let began = std::time::Instant::now();
    let addresses = [vec![mute], listener.addresses()].concat();
    dial_for(timeout, &dialler, 7, None, addresses).await;
    assert_eq!(failed(&mut dialler).await, DialId(7));
    assert!(began.elapsed() >= timeout);
    let longest = Duration::from_millis(Config::default().links.dial_timeout_max_ms);
    assert!(began.elapsed() < longest / 2, "{:?}", began.elapsed());

    // What was to be tried next is not; the first address answers after all, as the listener.
    let (mut near, _) = silent.accept().await.expect("was dialled");
    let at = listener.addresses()[0].as_str().to_owned();
    let port: u16 = (at.split('/').nth(4))
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let mut far = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connects");
    tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
    let (linked, _) = futures::join!(linked(&mut dialler), linked(&mut listener));
    assert_eq!((linked.0, linked.1), (identity(1).peer(), Some(DialId(7))));
}
