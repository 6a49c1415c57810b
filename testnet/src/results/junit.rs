//! `junit.xml`: verdicts as test cases, for whoever collects those.

use super::{Failure, Results};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::io;

/// The run as one test suite: safety, liveness, every assert.
pub fn junit(results: &Results) -> io::Result<Vec<u8>> {
    let mut suite = TestSuite::new(&results.scenario);
    let rules = [
        ("no crash", Failure::Crash),
        ("safety", Failure::Safety),
        ("liveness", Failure::Liveness),
    ];
    for (name, failure) in rules {
        let findings = (results.failure == Some(failure)).then(|| results.findings.join("\n"));
        suite.add_test_case(case(name.to_owned(), findings));
    }
    for verdict in &results.asserts {
        let group = verdict.group.as_deref().unwrap_or("run");
        let mut name = format!(
            "{group}: {} {}",
            verdict.metric,
            verdict.bound(|value| value.to_string())
        );
        if verdict.goal {
            name.push_str(" (goal)");
        }
        let observed = verdict
            .observed
            .map_or("nothing to measure".to_owned(), |observed| {
                format!("observed {observed}")
            });
        let failed = !verdict.passed && !verdict.goal;
        suite.add_test_case(case(name, failed.then_some(observed)));
    }
    let mut report = Report::new("hedgerow-testnet");
    report.add_test_suite(suite);
    let mut xml = Vec::new();
    report.serialize(&mut xml).map_err(io::Error::other)?;
    Ok(xml)
}

fn case(name: String, failure: Option<String>) -> TestCase {
    let status = match failure {
        None => TestCaseStatus::success(),
        Some(what) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(what);
            status
        }
    };
    TestCase::new(name, status)
}
