//! Runs in processes of their own: the memory of each is its own and can be measured, and what ends
//! one of them ends no other.

use hedgerow_testnet::results::{Failure, Results};
use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A call of `hedgerow-testnet run`.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The scenario's name.
    pub(super) scenario: String,
    /// Which world it asks for.
    pub(super) backend: &'static str,
    pub(super) seed: u64,
    /// What follows the name on the command line, beside the seed.
    pub(super) options: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Ran {
    /// Its place among the jobs.
    pub(super) job: usize,
    pub(super) end: End,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum End {
    /// It was judged.
    Judged(Box<Results>),
    /// Its world cannot be set up on this machine, which is no failure.
    Unavailable(String),
    /// It ended without a verdict.
    Broken(String),
}

impl Job {
    /// The command that runs it again.
    pub(super) fn replay(&self) -> String {
        let words = self.words();
        let words = ["hedgerow-testnet", "run"]
            .into_iter()
            .chain(words.iter().map(String::as_str));
        // Only a word with a zero byte cannot be quoted, and no argument has one.
        shlex::try_join(words).unwrap_or_default()
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec![
            self.scenario.clone(),
            "--seed".to_owned(),
            self.seed.to_string(),
        ];
        words.extend_from_slice(&self.options);
        words
    }

    /// Runs it to its end.
    fn run(&self) -> End {
        let program = match std::env::current_exe() {
            Ok(program) => program,
            Err(error) => return End::Broken(format!("cannot find this program: {error}")),
        };
        let child = Command::new(program)
            .arg("run")
            .args(self.words())
            .args(["--threads", "1", "--json"])
            .output();
        let output = match child {
            Ok(output) => output,
            Err(error) => return End::Broken(format!("cannot start this program: {error}")),
        };
        if let Ok(results) = serde_json::from_slice::<Results>(&output.stdout) {
            return End::Judged(Box::new(results));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or_default().to_owned();
        let missing = format!("no {} world here: ", self.backend);
        match said.split_once(&missing) {
            Some((_, why)) => End::Unavailable(why.to_owned()),
            None => End::Broken(format!("{}: {said}", output.status)),
        }
    }
}

impl End {
    /// What failed, in a few words; nothing where nothing did.
    pub(super) fn failure(&self) -> Option<String> {
        match self {
            Self::Judged(results) if results.passed || is_only_slow(results) => None,
            Self::Judged(results) => Some(super::sweep::why(results)),
            Self::Unavailable(_) => None,
            Self::Broken(why) => Some(format!("(crash: {why})")),
        }
    }

    /// Whether all that failed is that this machine took too long.
    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Judged(results) if !results.passed && is_only_slow(results))
    }
}

fn is_only_slow(results: &Results) -> bool {
    let mut failed = results
        .asserts
        .iter()
        .filter(|verdict| !verdict.passed && !verdict.goal);
    let of_time =
        |verdict: &hedgerow_testnet::results::Verdict| verdict.metric.as_str() == "wall_s";
    results.failure == Some(Failure::Assert) && failed.all(of_time)
}

/// Runs jobs in their order, so many at once, and tells of each that has ended. After `until` none
/// is begun.
pub(super) fn run_all(
    jobs: &[Job],
    at_once: usize,
    until: Option<Instant>,
    mut done: impl FnMut(Ran),
) {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..jobs.len()).collect());
    let (told, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_once.clamp(1, jobs.len().max(1)) {
            let (told, queue) = (told.clone(), &queue);
            scope.spawn(move || {
                while until.is_none_or(|until| Instant::now() < until) {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(job) = next else { return };
                    let began = Instant::now();
                    let end = jobs[job].run();
                    let took = began.elapsed();
                    // The receiver stays until all senders are gone.
                    let _ = told.send(Ran { job, end, took });
                }
            });
        }
        drop(told);
        ended.into_iter().for_each(&mut done);
    });
}
