//! Bytes that were on the wire once are understood for ever.
//!
//! `wire-1.txt` has one of every frame and record of wire version 1, `later.txt` what a build with the
//! feature `wire-next` writes. Lines are only ever added: `scripts/test golden`.

mod samples;

use bytes::Bytes;
use hedgerow_protocol::wire::record::WireRecord;
use hedgerow_protocol::wire::{Bundle, Frame, FrameDecoder, RawFrame, RecordGroup, SignedRecord};
use std::collections::BTreeMap;
use std::fmt::Write;

const WIRE_1: &str = include_str!("wire-1.txt");
const LATER: &str = include_str!("later.txt");

/// Names and bytes of the lines of a file.
fn lines(file: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    file.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').expect("a name and hexadecimal digits");
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
            (name, (0..hex.len()).step_by(2).map(digit).collect())
        })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a String takes everything");
        hex
    })
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame.encode().concat()
}

fn raw(bytes: &[u8]) -> RawFrame {
    let mut decoder = FrameDecoder::new(hedgerow_protocol::wire::FRAME_BYTES_MAX);
    decoder.push(Bytes::copy_from_slice(bytes));
    let frame = decoder.next_frame().expect("a frame").expect("whole");
    assert_eq!(decoder.partial_bytes(), 0, "one frame and nothing else");
    frame
}

#[test]
fn every_frame_of_wire_version_1_is_written_and_read_as_ever() {
    let golden: BTreeMap<&str, Vec<u8>> = lines(WIRE_1).collect();
    let samples = samples::all();
    let mut missing = String::new();
    for (name, frame) in &samples {
        let bytes = hex(&bytes_of(frame));
        let Some(known) = golden.get(name.as_str()) else {
            writeln!(missing, "{name} {bytes}").expect("a String takes everything");
            continue;
        };
        assert_eq!(hex(known), bytes, "{name}");
        let decoded = Frame::decode(raw(known));
        assert_eq!(decoded.as_ref(), Ok(&Some(frame.clone())), "{name}");
    }
    assert!(missing.is_empty(), "lines to add to wire-1.txt:\n{missing}");
    assert_eq!(golden.len(), samples.len(), "a line without a sample");
    for kind in Frame::kinds() {
        let has_sample = samples.iter().any(|(_, frame)| frame.name() == kind);
        assert!(has_sample, "no sample of {kind}");
    }
}

#[test]
fn what_a_later_version_writes_is_read_and_the_rest_is_counted() {
    let (mut known, mut unknown) = (0, 0);
    let (mut records, mut bundles) = (0, 0);
    for (name, bytes) in lines(LATER) {
        let decoded = Frame::decode_with(raw(&bytes));
        let Some((frame, ext)) = decoded.unwrap_or_else(|error| panic!("{name}: {error}")) else {
            unknown += 1;
            continue;
        };
        known += 1;
        assert_eq!(frame.name(), name);
        skips_one(name, ext.unknown);
        match frame {
            Frame::Records(frame) => {
                for WireRecord {
                    signed, signature, ..
                } in frame.records
                {
                    let record = SignedRecord::decode(signed, signature).expect("a record");
                    assert!(record.verify_job().run(), "its signature holds");
                    skips_one("record", record.record.ext.unknown);
                    for group in &record.record.groups {
                        skips_one("group", group.ext.unknown);
                    }
                    let roles = record.record.groups.iter().map(RecordGroup::role);
                    assert!(roles.clone().any(|role| role.is_none()), "a role to skip");
                    assert!(
                        roles.clone().any(|role| role.is_some()),
                        "and one that is known"
                    );
                    records += 1;
                }
            }
            Frame::Bundle(frame, payload) => {
                let bundle = Bundle::decode(frame.signed, frame.signature, payload);
                let bundle = bundle.expect("a bundle");
                let signer = bundle.header.origin.into();
                assert!(bundle.verify_job(signer).run(), "its signature holds");
                skips_one("bundle", bundle.header.ext.unknown);
                bundles += 1;
            }
            _ => {}
        }
    }
    assert!(known >= 10 && unknown >= 1 && records >= 1 && bundles >= 1);
}

/// A build that has the field knows it; all others skip it.
fn skips_one(what: &str, unknown: u32) {
    assert_eq!(
        unknown,
        u32::from(cfg!(not(feature = "wire-next"))),
        "{what}"
    );
}
