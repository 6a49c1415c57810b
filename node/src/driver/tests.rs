//! What strangers write on a link's substream.

use crate::transport::{Request, Transport, TransportEvent, to_address};
use crate::{GroupName, JoinOptions, Node, TransportConfig};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use hedgerow_protocol::{Config, DialId, Keypair};
use libp2p::Stream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("in time")
}

/// A stranger's bare substream to `node`; it lives as long as the transport.
async fn stranger(node: &Node, secret: u8) -> (Transport, Stream) {
    let identity = Keypair::from_secret([secret; 32]);
    let config = TransportConfig::default();
    let mut transport = Transport::start(&identity, &Config::default(), &config)
        .await
        .expect("starts");
    let address = to_address(&node.listen_addresses()[0]).expect("valid");
    let dial = Request::Dial {
        dial: DialId(1),
        peer: None,
        addresses: vec![address],
        timeout: PATIENCE,
    };
    transport.requests.send(dial).await.expect("runs");
    loop {
        match transport.events.recv().await.expect("runs") {
            TransportEvent::Linked { stream, .. } => return (transport, stream),
            TransportEvent::DialFailed { .. } => panic!("refused"),
            TransportEvent::Addresses(_) | TransportEvent::Discovered(_) => {}
        }
    }
}

/// Writes `bytes` and reads until the node has had enough.
async fn provoke(stream: &mut Stream, bytes: &[u8]) {
    // The node may hang up before it has read everything.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut buffer = vec![0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_link_and_nothing_else() {
    let alice = Node::builder()
        .listen("/ip4/127.0.0.1/tcp/0".parse().expect("valid"))
        .spawn()
        .await
        .expect("starts");
    let bob = Node::builder()
        .connect(&alice.listen_addresses())
        .spawn()
        .await
        .expect("starts");
    let news = GroupName::new("news").expect("valid");
    let with_alice = alice
        .join(&news, JoinOptions::default())
        .await
        .expect("joins");
    let mut with_bob = bob
        .join(&news, JoinOptions::default())
        .await
        .expect("joins");
    assert!(soon(with_bob.joined()).await);

    let mut noise = vec![0; 200_000];
    getrandom::fill(&mut noise).expect("randomness");
    let provocations: [&[u8]; 6] = [
        // A length over every limit; a length of nothing; no header; a header that is no CBOR;
        // a frame that never ends, until the handshake has taken too long; anything.
        &[0xff; 64],
        &[0; 64],
        &[0, 0, 0, 1, 1],
        &[
            0, 0, 0, 16, 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ],
        &[0, 0, 0xff, 0xff],
        &noise,
    ];
    let strangers = provocations
        .into_iter()
        .zip(100..)
        .map(async |(bytes, secret)| {
            let (transport, mut stream) = stranger(&alice, secret).await;
            soon(provoke(&mut stream, bytes)).await;
            transport.stop().await;
        });
    futures::future::join_all(strangers).await;

    with_alice.publish("unharmed").await.expect("publishes");
    let message = soon(with_bob.next())
        .await
        .expect("goes on")
        .expect("no gap");
    assert_eq!(message.payload, "unharmed");
    assert_eq!(alice.status().await.expect("answers").view_peers, 2);
}
