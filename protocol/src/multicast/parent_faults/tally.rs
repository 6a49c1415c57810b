//! What stands against a parent that keeps what it should push, and how it is forgiven.

use crate::base::time::Micros;

/// So many faults over so long, ms, without a push between them, are a run.
const RUN: u32 = 5;
const RUN_MS: u64 = 5_000;
/// A tally is forgotten after so long, ms; and what came here longer ago is pushed too late to
/// forgive any.
const FORGET_MS: u64 = 60_000;
/// A raised cost falls by a step after so long, ms, twice as long after each further raise.
const EASE_MS: u64 = 60_000;
const EASE_DOUBLINGS_MAX: u32 = 6;

/// What stands against one parent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Faults since a push, when the first of them was, and the last.
    pub(super) run: u32,
    pub(super) since: Micros,
    pub(super) last: Micros,
    /// Steps by which the cost is raised, and since when it is what it is.
    pub(super) raised: u32,
    pub(super) changed: Micros,
    /// How often it was raised in all.
    pub(super) raises: u32,
    /// When what it pushed had come here, the latest of all that has forgiven.
    forgave: Micros,
}

impl Tally {
    pub(super) fn new(now: Micros) -> Self {
        Self {
            run: 0,
            since: now,
            last: Micros(0),
            raised: 0,
            changed: now,
            raises: 0,
            forgave: Micros(0),
        }
    }

    /// One more; says whether that completes a run.
    pub(super) fn add(&mut self, now: Micros) -> bool {
        if self.run > 0 && now.since(self.last) > Micros::from_millis(FORGET_MS) {
            self.run = 0;
        }
        if self.run == 0 {
            self.since = now;
        }
        self.run += 1;
        self.last = now;
        self.run >= RUN && now.since(self.since) >= Micros::from_millis(RUN_MS)
    }

    /// It has pushed what came here at `came`, now or from elsewhere before; says whether that
    /// forgives what stands against it. Each time that takes something newer: else one old message,
    /// pushed again now and then, would forgive for ever.
    pub(super) fn forgive(&mut self, came: Micros, now: Micros) -> bool {
        let late = now.since(came) > Micros::from_millis(FORGET_MS);
        if late || came <= self.forgave {
            return false;
        }
        self.forgave = came;
        self.run = 0;
        true
    }

    fn ease(&self) -> Micros {
        let doublings = self.raises.saturating_sub(1).min(EASE_DOUBLINGS_MAX);
        Micros::from_millis(EASE_MS << doublings)
    }

    /// When time forgives something next.
    pub(super) fn due(&self) -> Micros {
        self.changed.max(self.last) + self.ease()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Micros {
        Micros::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_run_takes_charges_and_time() {
        let mut tally = Tally::new(at(0));
        let quick: Vec<bool> = (0..10)
            .map(|n| tally.add(Micros::from_millis(n * 200)))
            .collect();
        assert!(!quick.contains(&true), "two seconds are no run");
        assert!(tally.add(at(6)));
        let mut rare = Tally::new(at(0));
        let far_apart = (0..20).any(|n| rare.add(at(n * 61)));
        assert!(!far_apart, "forgotten before the next came");
    }

    #[test]
    fn a_late_push_forgives_and_the_same_again_does_not() {
        let mut tally = Tally::new(at(100));
        let counted = |tally: &mut Tally, seconds| {
            tally.add(at(seconds));
            tally.run
        };
        counted(&mut tally, 100);
        assert!(!tally.forgive(at(39), at(100)), "too old");
        assert!(tally.forgive(at(98), at(100)));
        assert_eq!(counted(&mut tally, 101), 1);
        assert!(!tally.forgive(at(98), at(101)), "the same again");
        assert!(!tally.forgive(at(97), at(101)), "an older one");
        assert_eq!(counted(&mut tally, 102), 2);
        assert!(tally.forgive(at(102), at(102)));
        assert_eq!(tally.run, 0);
    }

    #[test]
    fn each_raise_is_forgiven_half_as_soon() {
        let mut tally = Tally::new(at(0));
        tally.raises = 1;
        assert_eq!(tally.due(), at(60));
        tally.raises = 3;
        assert_eq!(tally.due(), at(240));
        tally.raises = 1_000;
        assert_eq!(tally.due(), at(60 << EASE_DOUBLINGS_MAX));
    }
}
