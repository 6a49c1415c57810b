//! Text from other peers cannot control the terminal that shows it.

use crate::peers::{Peer, Process, hedgerow};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;

/// Sets the title, clears the screen; overrides the direction.
const ATTACK: &[u8] = b"\x1b]0;OWNED\x07\x1b[2J\xe2\x80\xaetxt\xff\x9b2J\x7f";
const SHOWN: &str = r"\x1b]0;OWNED\x07\x1b[2J\u{202e}txt\xff\x9b2J\x7f";

/// A terminal: the end that a person sits at, and the one that a program writes to.
fn terminal() -> (File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&person).expect("ours");
    unlockpt(&person).expect("ours");
    let name = ptsname(&person, Vec::new()).expect("has a name");
    let program = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().expect("text"))
        .expect("opens");
    (person.into(), program)
}

/// What a person at the terminal sees of the command's stdout and stderr.
fn seen(peer: &Peer, line: &str) -> String {
    let (mut person, program) = terminal();
    let mut command = hedgerow(&peer.dir, line);
    command
        .stdout(Stdio::from(program.try_clone().expect("again")))
        .stderr(Stdio::from(program));
    let mut process = Process::spawn(command);
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        // The end of a terminal is an error.
        while let Ok(read @ 1..) = person.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..read]);
        }
        seen
    });
    process.code();
    drop(process);
    String::from_utf8_lossy(&reader.join().expect("reads")).into_owned()
}

#[test]
fn a_terminal_shows_what_would_control_it_and_a_pipe_gets_the_bytes() {
    let peer = Peer::start("--join news");
    peer.feed("pub news --split none", ATTACK).ok();
    let text = "plain\n\ttext \u{9b}2J\u{2066}";
    peer.feed("pub news --split none", text.as_bytes()).ok();
    let join = "join news --last 2 --count 2";

    let terminal = seen(&peer, join);
    assert!(terminal.contains(SHOWN), "{terminal:?}");
    assert!(
        terminal.contains("plain\r\n\ttext \\x9b2J\\u{2066}\r\n")
            || terminal.contains("plain\r\n        text \\x9b2J\\u{2066}\r\n"),
        "{terminal:?}"
    );
    for sequence in ["\x1b]0;", "\x1b[2J", "\u{9b}", "\u{202e}", "\u{2066}"] {
        assert!(!terminal.contains(sequence), "{terminal:?}");
    }
    let piped = [ATTACK, b"\n", text.as_bytes(), b"\n"].concat();
    assert!(peer.run(join).ok().stdout == piped, "a pipe gets the bytes");

    // JSON stays JSON.
    let terminal = seen(&peer, &format!("{join} --jsonl"));
    assert!(terminal.contains(r"text \u009b2J\u2066"), "{terminal:?}");
    let raw = peer.run(&format!("{join} --jsonl")).ok();
    assert!(raw.text().contains("\u{9b}2J\u{2066}"), "{}", raw.text());

    // Only what is asked for is obeyed.
    let terminal = seen(&peer, &format!("{join} --raw"));
    assert!(terminal.contains("\x1b]0;OWNED\x07\x1b[2J"), "{terminal:?}");
}

#[test]
fn errors_and_notices_do_not_control_the_terminal_either() {
    let peer = Peer::start("");
    let terminal = seen(&peer, "pub news --file /nonexistent/\u{202e}\u{1b}[2J");
    assert!(
        terminal.contains(r"/nonexistent/\u{202e}\x1b[2J"),
        "{terminal:?}"
    );
    assert!(!terminal.contains("\u{1b}[2J"), "{terminal:?}");
}
