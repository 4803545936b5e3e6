//! One alert's states: what an observation makes of them, by elapsed time alone.
//!
//! Pure. Time comes in as what has passed since the last observation, from a clock that never steps back, so that a
//! wall clock that does neither resolves, repeats nor loses anything. Invariant: an alert that fires is resolved by an
//! observation that it holds no longer, never by one that could not be made.

use serde::{Deserialize, Serialize};

/// How long an alert may be impossible to evaluate before that is itself told, where its own `for` is not longer.
pub const UNKNOWN_PATIENCE_MS: u64 = 5 * 60_000;

/// What was seen when an alert was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Its condition does not hold.
    Clear,
    /// It holds; what was found, in words and counts.
    Holds(String),
    /// There is nothing to evaluate it on; why.
    NoData(String),
    /// It could not be evaluated; why.
    Unknown(String),
}

/// When something is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Milliseconds since 1970; for people alone.
    pub wall_ms: i64,
    /// What has passed since the alert's last observation.
    pub elapsed_ms: u64,
}

/// An alert's times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How long it must hold before it fires.
    pub hold_for_ms: u64,
    /// How long it goes on firing after it holds no longer.
    pub keep_firing_for_ms: u64,
}

/// Where an alert is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It does not fire; it may have, before.
    #[default]
    Quiet,
    /// It holds, not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

/// Why the newest observation could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// Whether there was nothing to look at; else looking failed.
    pub no_data: bool,
    /// Why.
    pub reason: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// For how long.
    #[serde(skip)]
    pub lasted_ms: u64,
}

/// That somebody has taken an alert on. It ends with the alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What they said.
    pub comment: Option<String>,
}

/// One alert's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertState {
    /// Where it is.
    pub phase: Phase,
    /// Since when it holds; of a quiet one, when it was resolved.
    pub since_ms: i64,
    /// How often it has fired.
    pub episode: u64,
    /// The words of the newest observation that it held.
    pub summary: String,
    /// Why the newest observation could not be made.
    pub blind: Option<Blind>,
    /// Who has taken it on.
    pub acknowledged: Option<Acknowledgement>,
    /// Pending: for how long it has held. Firing: for how long it has not.
    #[serde(skip)]
    pub waited_ms: u64,
    /// Whether the newest observation of a firing alert was that it holds no longer.
    #[serde(skip)]
    pub is_clearing: bool,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It began to hold.
    Pended,
    /// It holds no longer, before it fired.
    Withdrawn,
    /// It fires.
    Fired,
    /// It is resolved.
    Resolved,
    /// It cannot be evaluated any longer, or can again.
    Sight,
}

impl AlertState {
    /// The name of the state that it is in.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match (&self.blind, self.phase) {
            (Some(blind), _) => {
                if blind.no_data {
                    "no_data"
                } else {
                    "error"
                }
            }
            (None, Phase::Firing) if self.acknowledged.is_some() => "acknowledged",
            (None, Phase::Firing) => "firing",
            (None, Phase::Pending) => "pending",
            (None, Phase::Quiet) => "resolved",
        }
    }

    /// Whether it fires, acknowledged or not, and whether or not it can be evaluated now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Firing
    }

    /// Whether there is nothing to keep of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.phase == Phase::Quiet && self.episode == 0 && self.blind.is_none()
    }

    /// Takes it up after the process was away: what has held for a while has held while nobody looked.
    pub fn resume(&mut self, wall_ms: i64) {
        let since = |at_ms: i64| u64::try_from(wall_ms.saturating_sub(at_ms)).unwrap_or(0);
        if self.phase == Phase::Pending {
            self.waited_ms = since(self.since_ms);
        }
        if let Some(blind) = &mut self.blind {
            blind.lasted_ms = since(blind.since_ms);
        }
    }
}

/// What an observation makes of a state.
#[must_use]
pub fn step(state: AlertState, observation: Observation, tick: Tick, timing: Timing) -> (AlertState, Option<Change>) {
    match observation {
        Observation::Holds(summary) => holds(state, summary, tick, timing),
        Observation::Clear => clear(state, tick, timing),
        Observation::NoData(reason) => cannot_see(state, true, reason, tick, timing),
        Observation::Unknown(reason) => cannot_see(state, false, reason, tick, timing),
    }
}

fn holds(mut state: AlertState, summary: String, tick: Tick, timing: Timing) -> (AlertState, Option<Change>) {
    let sees_again = state.blind.take().map(|_| Change::Sight);
    state.summary = summary;
    let change = match state.phase {
        Phase::Quiet => {
            (state.phase, state.since_ms, state.waited_ms) = (Phase::Pending, tick.wall_ms, 0);
            Some(Change::Pended)
        }
        Phase::Pending => {
            state.waited_ms = state.waited_ms.saturating_add(tick.elapsed_ms);
            sees_again
        }
        Phase::Firing => {
            (state.waited_ms, state.is_clearing) = (0, false);
            sees_again
        }
    };
    if state.phase == Phase::Pending && state.waited_ms >= timing.hold_for_ms {
        return (fire(state), Some(Change::Fired));
    }
    (state, change)
}

fn fire(mut state: AlertState) -> AlertState {
    (state.phase, state.waited_ms, state.is_clearing) = (Phase::Firing, 0, false);
    state.acknowledged = None;
    state.episode += 1;
    state
}

fn clear(mut state: AlertState, tick: Tick, timing: Timing) -> (AlertState, Option<Change>) {
    let sees_again = state.blind.take().map(|_| Change::Sight);
    match state.phase {
        Phase::Quiet => (state, sees_again),
        Phase::Pending => {
            (state.phase, state.since_ms, state.waited_ms) = (Phase::Quiet, tick.wall_ms, 0);
            (state, Some(Change::Withdrawn))
        }
        Phase::Firing => {
            // The first observation begins the time; what passed before it belongs to nobody.
            state.waited_ms = if state.is_clearing { state.waited_ms.saturating_add(tick.elapsed_ms) } else { 0 };
            state.is_clearing = true;
            if state.waited_ms < timing.keep_firing_for_ms {
                return (state, sees_again);
            }
            (state.phase, state.since_ms, state.waited_ms) = (Phase::Quiet, tick.wall_ms, 0);
            (state.acknowledged, state.is_clearing) = (None, false);
            (state, Some(Change::Resolved))
        }
    }
}

fn cannot_see(
    mut state: AlertState,
    no_data: bool,
    reason: String,
    tick: Tick,
    timing: Timing,
) -> (AlertState, Option<Change>) {
    let known = state.blind.take().filter(|blind| blind.no_data == no_data);
    let change = known.is_none().then_some(Change::Sight);
    let (since_ms, lasted_ms) =
        known.map_or((tick.wall_ms, 0), |blind| (blind.since_ms, blind.lasted_ms.saturating_add(tick.elapsed_ms)));
    let told = !no_data && !state.is_open() && lasted_ms >= UNKNOWN_PATIENCE_MS.max(timing.hold_for_ms);
    if told {
        state.summary = format!("it could not be evaluated: {reason}");
        state.since_ms = since_ms;
        state = fire(state);
    }
    state.blind = Some(Blind { no_data, reason, since_ms, lasted_ms });
    (state, if told { Some(Change::Fired) } else { change })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { hold_for_ms: 2_000, keep_firing_for_ms: 3_000 };

    /// Runs observations a second apart, given as letters: h(olds), c(lear), n(o data), u(nknown); a digit advances the
    /// next observation by so many minutes instead, `<` sets the wall clock back by an hour.
    fn run(script: &str, timing: Timing) -> (AlertState, Vec<Change>, Vec<&'static str>) {
        let (mut state, mut changes, mut names) = (AlertState::default(), Vec::new(), Vec::new());
        let (mut wall_ms, mut elapsed_ms) = (1_000_000_000, 1_000);
        for letter in script.chars() {
            let observation = match letter {
                'h' => Observation::Holds("it holds".into()),
                'c' => Observation::Clear,
                'n' => Observation::NoData("nothing".into()),
                'u' => Observation::Unknown("failed".into()),
                '<' => {
                    wall_ms -= 3_600_000;
                    continue;
                }
                digit => {
                    elapsed_ms = u64::from(digit.to_digit(10).unwrap_or(0)) * 60_000;
                    continue;
                }
            };
            wall_ms += i64::try_from(elapsed_ms).unwrap_or(0);
            let (next, change) = step(state, observation, Tick { wall_ms, elapsed_ms }, timing);
            elapsed_ms = 1_000;
            changes.extend(change);
            names.push(next.name());
            state = next;
        }
        (state, changes, names)
    }

    #[rstest::rstest]
    #[case::it_waits_for_its_time("hhh", "firing", 1)]
    #[case::not_yet("hh", "pending", 0)]
    #[case::it_held_not_long_enough("hhchh", "pending", 0)]
    #[case::withdrawn("hc", "resolved", 0)]
    #[case::it_keeps_firing("hhhccc", "firing", 1)]
    #[case::then_it_is_resolved("hhhcccc", "resolved", 1)]
    #[case::holding_again_begins_the_time_anew("hhhccchccc", "firing", 1)]
    #[case::again("hhhcccchhh", "firing", 2)]
    #[case::no_data_resolves_nothing("hhhn9n9n9n", "no_data", 1)]
    #[case::nor_does_an_error("hhhu9u", "error", 1)]
    #[case::it_fires_on_after_no_data("hhhnh", "firing", 1)]
    #[case::pending_waits_through_no_data("hhnh", "firing", 1)]
    #[case::no_data_alone_fires_nothing("n9n9n", "no_data", 0)]
    #[case::an_error_is_told_when_it_lasts("u5u", "error", 1)]
    #[case::not_before("u4u", "error", 0)]
    #[case::and_is_resolved_when_it_is_over("u5ucccc", "resolved", 1)]
    #[case::a_clock_that_jumps_back_resolves_nothing("hhh<h<c<", "firing", 1)]
    #[case::nor_does_it_lose_the_time("hh<h", "firing", 1)]
    fn states(#[case] script: &str, #[case] name: &str, #[case] episodes: u64) {
        let (state, ..) = run(script, TIMING);
        assert_eq!((state.name(), state.episode), (name, episodes));
    }

    #[test]
    fn without_times_it_fires_and_is_resolved_at_once_and_each_change_is_said_once() {
        let (_, changes, names) = run("hhcchc", Timing::default());
        assert_eq!(changes, [Change::Fired, Change::Resolved, Change::Fired, Change::Resolved]);
        assert_eq!(names, ["firing", "firing", "resolved", "resolved", "firing", "resolved"]);
        let (_, changes, _) = run("nnuuc", Timing::default());
        assert_eq!(changes, [Change::Sight, Change::Sight, Change::Sight]);
    }

    #[test]
    fn an_acknowledgement_ends_with_the_alert() {
        let (mut state, ..) = run("h", Timing::default());
        state.acknowledged = Some(Acknowledgement { by: "a".into(), at_ms: 1, comment: None });
        assert_eq!(state.name(), "acknowledged");
        let tick = Tick { wall_ms: 2, elapsed_ms: 1 };
        let (state, _) = step(state, Observation::Clear, tick, Timing::default());
        let (state, _) = step(state, Observation::Holds(String::new()), tick, Timing::default());
        assert_eq!((state.name(), state.episode), ("firing", 2));
    }

    #[test]
    fn what_was_pending_has_waited_while_nobody_looked() {
        let (mut state, ..) = run("h", TIMING);
        state.waited_ms = 0;
        state.resume(state.since_ms + 60_000);
        let tick = Tick { wall_ms: state.since_ms + 60_000, elapsed_ms: 0 };
        assert_eq!(step(state.clone(), Observation::Holds(String::new()), tick, TIMING).0.name(), "firing");
        state.resume(state.since_ms - 60_000);
        assert_eq!(state.waited_ms, 0);
    }
}
