//! Writes the corpus that fuzzing starts from: `cargo run --example seed`, in this directory.
//! Always the same files: frames of every kind, records and bundles, and operations for engines.

use arbitrary::Unstructured;
use hedgerow_fuzz::{any, keypair};
use hedgerow_protocol::wire::Frame;
use hedgerow_testnet::sim::Random;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Operations for engines: inputs of each kind.
const RUNS: u64 = 24;
/// Attempts at frames; one of each kind and size class is kept.
const ATTEMPTS: u64 = 4_000;

fn bytes(purpose: &str, index: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(index, purpose);
    (0..len).map(|_| random.below(256) as u8).collect()
}

fn frames() -> Vec<Frame> {
    let mut kinds = BTreeMap::new();
    for attempt in 0..ATTEMPTS {
        let source = bytes("frames", attempt, 400);
        if let Ok(frame) = any(1, 1_700_000_000_000, &mut Unstructured::new(&source)) {
            let size = frame.encode().iter().map(|part| part.len()).sum::<usize>();
            if size < 2_000 {
                kinds.entry((frame.name(), size.ilog2())).or_insert(frame);
            }
        }
    }
    kinds.into_values().collect()
}

fn write(target: &str, files: Vec<Vec<u8>>) -> io::Result<()> {
    let directory = Path::new("corpus").join(target);
    fs::create_dir_all(&directory)?;
    for (index, file) in files.iter().enumerate() {
        fs::write(directory.join(format!("seed-{index:03}")), file)?;
    }
    println!("{}: {} files", directory.display(), files.len());
    Ok(())
}

fn main() -> io::Result<()> {
    let frames = frames();
    // Four bytes say how the stream is cut.
    let streams = frames.iter().map(|frame| {
        let [head, payload] = frame.encode();
        [&[255, 1, 40, 255][..], &head, &payload].concat()
    });
    write("frame", streams.collect())?;
    let mut signed = Vec::new();
    for frame in &frames {
        match frame {
            Frame::Records(records) => {
                signed.extend(records.records.iter().map(|record| record.signed.to_vec()));
            }
            // The target takes three quarters as the header, the rest as the payload.
            Frame::Bundle(bundle, payload) if payload.len() == bundle.signed.len() / 3 => {
                signed.push([&bundle.signed[..], payload].concat());
            }
            Frame::Bundle(bundle, _) => signed.push(bundle.signed.to_vec()),
            _ => {}
        }
    }
    signed.push(keypair(1).peer().0.to_vec());
    write("record", signed)?;
    for target in ["engine", "network"] {
        let runs = (0..RUNS).map(|run| bytes(target, run, 60 + run as usize * 60));
        write(target, runs.collect())?;
    }
    Ok(())
}
