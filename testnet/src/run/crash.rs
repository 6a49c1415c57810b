//! What becomes of a run in which something panicked: a bug in a peer, in the world or in whoever judges
//! must not take the results away, and is never kept quiet.

use super::judge::unmeasured;
use super::{Outcome, Run, RunError};
use crate::results::{Failure, Picture, Results, SCHEMA};
use crate::scenario::Scenario;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Turns a panic into words.
pub(super) fn caught<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    let said = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    };
    catch_unwind(AssertUnwindSafe(act)).map_err(said)
}

/// Gives what a run gives, or what is left of it when it panics before peers run or when they are
/// judged.
pub(super) fn guarded(
    scenario: &Scenario,
    whole: impl FnOnce() -> Result<Outcome, RunError>,
) -> Result<Outcome, RunError> {
    caught(whole).unwrap_or_else(|what| {
        let finding = format!("crash before or after the run: {what}");
        Ok(without_figures(scenario, vec![finding]))
    })
}

/// What a run gives that panicked while peers ran: as much as there is to judge.
pub(super) fn judged(run: Run<'_>, what: &str, began: Instant) -> Outcome {
    let scenario = run.scenario;
    let finding = format!("crash at {}: {what}", run.world.now());
    // What panics may leave a world behind of which nothing can be told.
    match caught(|| run.judge(None, began)) {
        Ok(mut outcome) => {
            outcome.results.passed = false;
            outcome.results.failure = Some(Failure::Crash);
            outcome.results.findings.insert(0, finding);
            outcome
        }
        Err(more) => {
            let more = format!("crash when it was judged: {more}");
            without_figures(scenario, vec![finding, more])
        }
    }
}

/// That there was a crash, and nothing else: no assert holds.
fn without_figures(scenario: &Scenario, findings: Vec<String>) -> Outcome {
    let file = &scenario.file;
    let asserts = file.assert.iter();
    let results = Results {
        schema: SCHEMA,
        scenario: file.scenario.name.clone(),
        backend: file.scenario.backend.as_str().to_owned(),
        seed: file.scenario.seed,
        nodes: scenario.nodes(),
        failure: Some(Failure::Crash),
        asserts: asserts.map(|assert| unmeasured(scenario, assert)).collect(),
        findings,
        ..Results::default()
    };
    Outcome {
        results,
        ticks: Vec::new(),
        picture: Picture::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::page;
    use crate::run::Options;
    use crate::scenario::Overrides;
    use std::path::Path;

    fn scenario() -> Scenario {
        let text = "[scenario]\nwarmup = \"1s\"\nduration = \"1s\"\nquiet = \"1s\"\n\
            [[nodes]]\nid = \"a\"\ncount = 2\n[[workload]]\nrate = 1\n\
            [[assert]]\nmetric = \"gaps\"\nop = \"==\"\nvalue = 0\n";
        Scenario::parse(text, Path::new("t.toml"), &Overrides::default()).expect("valid")
    }

    #[test]
    fn a_panic_outside_the_run_is_a_crash_that_says_why() {
        let scenario = scenario();
        let outcome = guarded(&scenario, || panic!("no {} here", "sense"));
        let outcome = outcome.expect("results");
        let results = &outcome.results;
        assert_eq!(
            (results.passed, results.failure),
            (false, Some(Failure::Crash))
        );
        let said = ["crash before or after the run: no sense here"];
        assert_eq!(results.findings, said);
        let verdict = &results.asserts[0];
        assert_eq!((verdict.observed, verdict.passed), (None, false));
        assert_eq!(verdict.group.as_deref(), Some("broadcast"));
        let page = page(results, &outcome.ticks, &outcome.picture);
        assert!(page.contains(said[0]), "{page}");
    }

    /// Whoever judges asks a world that something has just panicked in.
    #[test]
    fn what_cannot_be_judged_does_not_hide_what_was_said_before() {
        let scenario = scenario();
        let mut run = Run::new(&scenario, Options::default()).expect("this world can");
        // Nobody is known to behave or not.
        run.cast.behaviours.clear();
        let results = judged(run, "the first", Instant::now()).results;
        assert_eq!(results.failure, Some(Failure::Crash));
        assert_eq!(results.findings[0], "crash at 0.000 ms: the first");
        let then = "crash when it was judged: index out of bounds";
        assert!(results.findings[1].starts_with(then), "{results:#?}");
    }
}
