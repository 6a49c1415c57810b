//! TCP connections of which the kernel holds little that is not on its way yet.
//!
//! What waits in a socket is out of the engine's hands: it can be neither overtaken by what is more
//! urgent nor withdrawn, and it hides that a line is slow until the buffer is full, which the
//! kernel makes as large as megabytes.

use super::single;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport as _, noise, tcp};

/// TCP and Noise, one stream each; of every connection the kernel holds about `unsent_bytes` unsent.
pub(super) fn transport(
    key: &Keypair,
    unsent_bytes: u32,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let config = tcp::Config::default().nodelay(true);
    let plain = tcp::tokio::Transport::new(config).map(move |stream, _| {
        hold_little(&stream, unsent_bytes);
        stream
    });
    let secure = plain
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(single::Upgrade);
    let boxed = secure.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(boxed.boxed())
}

/// Linux's `TCP_NOTSENT_LOWAT` (tcp(7)). A connection without it only works less well.
#[cfg(target_os = "linux")]
fn hold_little(stream: &tcp::tokio::TcpStream, unsent_bytes: u32) {
    let socket = socket2::SockRef::from(&stream.0);
    if let Err(error) = socket.set_tcp_notsent_lowat(unsent_bytes) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT");
    }
}

#[cfg(not(target_os = "linux"))]
fn hold_little(_stream: &tcp::tokio::TcpStream, _unsent_bytes: u32) {}
