//! Two times: where the agenda is, and where the real clock is.

use hedgerow_protocol::Micros;
use std::time::Instant;

/// The time of a run in the real world. It stands still until the first peers are up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The instant of moment 0, once that has come.
    zero: Option<Instant>,
    agenda: Micros,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            zero: None,
            agenda: Micros(0),
        }
    }

    /// Lets time begin.
    pub(super) fn begin(&mut self) {
        self.zero.get_or_insert_with(Instant::now);
    }

    /// Where the agenda is.
    pub(super) fn now(&self) -> Micros {
        self.agenda
    }

    /// The agenda has come to `at`.
    pub(super) fn advance(&mut self, at: Micros) {
        self.agenda = self.agenda.max(at);
    }

    /// Where the real clock is.
    pub(super) fn real(&self) -> Micros {
        self.of(Instant::now())
    }

    /// The time of an instant.
    pub(super) fn of(&self, instant: Instant) -> Micros {
        let since = self
            .zero
            .map(|zero| instant.saturating_duration_since(zero));
        Micros(since.unwrap_or_default().as_micros() as u64)
    }

    /// The instant of a time; now, as long as time stands still.
    pub(super) fn instant(&self, at: Micros) -> Instant {
        let zero = self.zero.unwrap_or_else(Instant::now);
        zero + std::time::Duration::from_micros(at.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_stands_still_until_it_begins_and_the_agenda_never_goes_back() {
        let mut clock = Clock::new();
        let before = Instant::now();
        assert_eq!(clock.of(before + Duration::from_secs(9)), Micros(0));
        clock.begin();
        let zero = clock.instant(Micros(0));
        assert_eq!(clock.of(zero + Duration::from_millis(3)), Micros(3_000));
        assert_eq!(clock.of(before), Micros(0));
        clock.advance(Micros(7));
        clock.advance(Micros(5));
        assert_eq!(clock.now(), Micros(7));
    }
}
