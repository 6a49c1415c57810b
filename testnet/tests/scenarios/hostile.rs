//! Offenders of each kind among peers that behave.

use crate::{results, scenario};
use hedgerow_testnet::results::Results;
use hedgerow_testnet::run::check;

/// Offenders of one kind among honest peers; everybody honest gets everything from the honest.
fn withstands(kind: &str) -> Results {
    let more = format!(
        "[[nodes]]\nid = \"offender\"\ncount = 2\nbehaviour = \"{kind}\"\n\
         [[assert]]\nmetric = \"foreign\"\nop = \"==\"\nvalue = 0\n"
    );
    let set = ["workload.0.publishers=peer/first:4", "scenario.quiet=30s"];
    let results = results(&more, &set);
    assert!(results.passed, "{kind}: {results:#?}");
    assert_eq!(results.hostile.nodes, 2);
    results
}

/// Whether those that behave counted an offence, or what they did about it.
fn counts(results: &Results, counter: &str) -> bool {
    results.counted.get(counter).is_some_and(|times| *times > 0)
}

#[test]
fn forwarders_that_do_not_behave_are_withstood() {
    for (kind, counter) in [
        ("drop", "parents_questioned"),
        ("delay", "parents_questioned"),
        ("replay", "bundles_duplicate"),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
    }
}

#[test]
fn what_is_forged_or_cannot_be_read_is_withstood_and_who_sends_it_banned() {
    for (kind, counter, offenders) in [
        ("forged-origin", "bundles_forged", 2),
        // One of the two is a leaf of all trees: who passes nothing on breaks no signature.
        ("bad-signature", "bundles_forged", 1),
        ("oversized", "frames_malformed", 2),
        ("malformed", "frames_malformed", 2),
        ("forged-acknowledgements", "acknowledgements_forged", 2),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
        assert!(counts(&results, "peers_banned"), "{kind}");
        assert_eq!(results.hostile.offenders, offenders, "{kind}");
        assert_eq!(results.hostile.banned_ratio, Some(1.0), "{kind}");
    }
}

#[test]
fn what_an_honest_peer_may_have_passed_on_bans_nobody() {
    for (kind, counter) in [
        ("framing", "bundles_oversized"),
        ("holes", "bundles_with_holes"),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
        assert!(!counts(&results, "peers_banned"), "{kind}");
        assert_eq!(results.hostile.wronged, 0, "{kind}");
    }
}

#[test]
fn liars_are_withstood() {
    withstands("lying-coordinates");
    for (kind, counter) in [
        ("lying-digests", "announcers_ignored"),
        ("copied-key", "own_records_found"),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
    }
}

#[test]
fn floods_are_withstood() {
    let records = withstands("record-flood");
    assert!(counts(&records, "records_of_strangers"));
    // Of strangers 256 at once and one a second.
    let most = 14 + 256 + records.virtual_s as usize;
    assert!(records.memory.records_max <= most, "{:?}", records.memory);
    let linked = withstands("linked-record-flood");
    assert!(counts(&linked, "records_of_strangers"));
    assert_eq!(linked.counted.get("records_evicted"), Some(&0));
    withstands("data-flood");
}

#[test]
fn connections_that_take_places_are_withstood() {
    withstands("slow-hello");
    withstands("one-address");
}

#[test]
fn who_publishes_two_payloads_under_one_name_is_reported_and_cut_off() {
    let results = withstands("equivocate");
    assert!(results.hostile.reports > 0);
    assert_eq!(results.hostile.cut_off_ratio, Some(1.0), "{results:#?}");
}

/// A copy of nobody's key would be one more peer that behaves.
#[test]
fn more_copied_keys_than_there_are_to_copy_are_refused() {
    let copies = |count: usize| {
        format!("[[nodes]]\nid = \"copy\"\ncount = {count}\nbehaviour = \"copied-key\"\n")
    };
    let late = "[[nodes]]\nid = \"late\"\ncount = 9\nstarted = false\n";
    // Eight of twelve publish.
    let enough = scenario(&copies(4), &[]);
    assert_eq!(check(&enough), Ok(()));
    for (more, set) in [
        (copies(5), "workload.0.publishers=not share:0.34"),
        (copies(1), "workload.0.publishers=all"),
        // Who does not run yet has no key to be outbid by.
        (
            format!("{}{late}", copies(5)),
            "workload.0.publishers=peer/first:8",
        ),
    ] {
        let error = check(&scenario(&more, &[set])).expect_err("must be refused");
        let said = error.to_string();
        assert!(said.contains("narrow workload.publishers"), "{said}");
    }
}
