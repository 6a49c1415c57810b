//! The arguments.

use crate::Multiaddr;
use crate::api::types::{SettingsRequest, Split, parse_duration};
use crate::config::Flag;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use hedgerow_protocol::{GroupName, NetworkName, PeerKey};
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 usage, 3 no running peer, 4 partial \
                          (fewer acknowledgements or replies than asked), 124 timeout.";

/// Reliable one-to-many messaging among equal peers, without a broker.
#[derive(Debug, Parser)]
#[command(name = "hedgerow", version, about, after_help = EXIT_CODES, propagate_version = true)]
pub(super) struct Cli {
    /// Where the peer keeps its identity and its socket
    #[arg(long, global = true, env = "HEDGEROW_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) data_dir: Option<PathBuf>,
    /// Print JSON instead of tables and text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say more on stderr; repeat for yet more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a peer in the foreground; prints one line of JSON once its API accepts calls
    Run(RunArgs),
    /// Join a group and print its messages until interrupted
    Join(JoinArgs),
    /// Publish to a group: TEXT, a file, or stdin line by line
    Pub(PubArgs),
    /// Publish to every peer
    Broadcast(PublishArgs),
    /// Leave a group, whoever joined it
    Leave { group: GroupName },
    /// Change how a group works
    #[command(subcommand)]
    Group(GroupCommand),
    /// List this peer's groups
    Groups,
    /// List a group's members; without GROUP all peers known
    Members {
        #[arg(default_value_t = GroupName::broadcast())]
        group: GroupName,
    },
    /// List the links to neighbours
    Links,
    /// Show the peer at a glance
    Status,
    /// Print the metrics as Prometheus reads them
    Metrics,
    /// Print who the peer is and where it can be reached
    Id,
    /// Print what happens, one JSON object a line, until interrupted
    Events,
    /// Try to link to peers at these addresses
    Connect {
        #[arg(required = true, value_name = "MULTIADDR")]
        addresses: Vec<Multiaddr>,
    },
    /// Look for what is wrong and say what to do
    Doctor,
    /// End the running peer in good order
    Shutdown,
    /// Show which links carry a group's messages
    Overlay(OverlayArgs),
    /// Follow one probe message; print the path and time to every member
    Trace(TraceArgs),
    /// Ping one peer, over others where it is no neighbour
    Ping(PingArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// Change a group's settings for all its members, losing nothing
    Set {
        group: GroupName,
        #[command(flatten)]
        settings: SettingsRequest,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the settings in force for a peer started with these flags
    Show(ConfigShowArgs),
    /// Check a file, in place of running a peer with it
    Check { file: PathBuf },
}

/// Flags that set configuration: they win over environment and file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(super) struct ConfigArgs {
    /// Configuration file (default: config.toml in the data directory, if there)
    #[arg(long, env = "HEDGEROW_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
    /// Address to listen on, in place of the configured ones; port 0 is any free one
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Peer to begin with
    #[arg(long, value_name = "MULTIADDR")]
    pub(super) connect: Vec<Multiaddr>,
    /// Network to belong to
    #[arg(long, value_name = "NAME")]
    network: Option<NetworkName>,
    /// Do not look for peers on the local network
    #[arg(long)]
    no_mdns: bool,
    /// Become a new peer where the data directory has lost its key
    #[arg(long)]
    pub(super) new_identity: bool,
    /// Forget the kept groups where the data directory has lost them
    #[arg(long)]
    pub(super) forget_groups: bool,
    /// Set any key of the configuration (`--set links.degree=6`)
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("write KEY=VALUE, like links.degree=6")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl ConfigArgs {
    /// What holds when no flag is given.
    pub(super) fn of_environment() -> Self {
        let config = std::env::var_os("HEDGEROW_CONFIG").map(PathBuf::from);
        Self {
            config,
            ..Self::default()
        }
    }

    /// The settings these flags make.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let mut flags: Vec<Flag> = Vec::new();
        let texts = |list: &[Multiaddr]| list.iter().map(ToString::to_string).collect();
        for (key, value) in &self.set {
            flags.push(Flag::text("--set", key, value));
        }
        if !self.listen.is_empty() {
            flags.push(Flag::list("--listen", "listen", texts(&self.listen)));
        }
        if !self.connect.is_empty() {
            flags.push(Flag::list("--connect", "connect", texts(&self.connect)));
        }
        if let Some(network) = &self.network {
            flags.push(Flag::text("--network", "network", network.as_str()));
        }
        if self.no_mdns {
            flags.push(Flag::text("--no-mdns", "mdns", "false"));
        }
        flags
    }
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Be a member of this group until told to leave, across restarts
    #[arg(long, value_name = "GROUP")]
    pub(super) join: Vec<GroupName>,
}

#[derive(Debug, Args)]
pub(super) struct ConfigShowArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Say where each value comes from
    #[arg(long)]
    pub(super) origin: bool,
    /// Show the settings of the running peer
    #[arg(long)]
    pub(super) running: bool,
}

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    pub(super) group: GroupName,
    #[command(flatten)]
    pub(super) settings: SettingsRequest,
    /// Begin with what was published in the last so long (10m), as far as it is retained
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "last")]
    pub(super) since: Option<Duration>,
    /// Begin with the last N messages by time of publication, as far as they are retained
    #[arg(long, value_name = "N")]
    pub(super) last: Option<u64>,
    /// End after N messages
    #[arg(long, value_name = "N")]
    pub(super) count: Option<u64>,
    /// End after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Join to stay, print nothing: the peer stays a member until `leave`, across restarts
    #[arg(long, conflicts_with_all = ["since", "last", "count", "raw", "jsonl"])]
    pub(super) detach: bool,
    /// Print payload bytes only, without a newline after each message
    #[arg(long, conflicts_with = "jsonl")]
    pub(super) raw: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) jsonl: bool,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(super) struct PubArgs {
    pub(super) group: GroupName,
    #[command(flatten)]
    pub(super) publish: PublishArgs,
}

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// The message; - or nothing reads stdin
    #[arg(conflicts_with = "file")]
    pub(super) text: Option<String>,
    /// Publish a file's content
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,
    /// How to cut it: a message a line (as stdin is by default) or one in all (as files are)
    #[arg(long, value_enum)]
    pub(super) split: Option<Split>,
    /// Say something about each message beside its content, signed with it; may be repeated
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = parse_header)]
    pub(super) headers: Vec<(String, String)>,
    /// Return only when every live member has all of it; exit code 4 if there is no other member
    #[arg(long)]
    pub(super) wait: bool,
    /// With --wait: exit code 0 also if there is no other member
    #[arg(long, requires = "wait")]
    pub(super) allow_nobody: bool,
    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(super) struct OverlayArgs {
    #[arg(default_value_t = GroupName::broadcast())]
    pub(super) group: GroupName,
    /// Whose messages (default: this peer's own)
    #[arg(long, value_name = "PEER")]
    pub(super) origin: Option<PeerKey>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// How an overlay is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// Graphviz
    Dot,
    /// For Gephi, yEd and the like
    Graphml,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    pub(super) group: GroupName,
    /// How long to wait for answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct PingArgs {
    pub(super) peer: PeerKey,
    /// How often, a second apart
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: u64,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (key, value) = (text.split_once('=')).ok_or("KEY=VALUE is expected, as in `id=42`")?;
    // The limits of all together are looked at when all are known.
    let mut headers = hedgerow_protocol::Headers::default();
    (headers.insert(key, value)).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}
