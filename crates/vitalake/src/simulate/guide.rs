//! What a person is told of an incident: what is sent, what the platform makes of it, and where to look. The alerts,
//! runbooks and datasets named here are those of the example project.

use super::incident::Incident;

/// What a person is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Guide {
    /// What is sent.
    pub what: &'static str,
    /// What the platform makes of it.
    pub caught: &'static str,
    /// The alert that fires; empty where none does.
    pub alert: &'static str,
    /// Its runbook.
    pub runbook: &'static str,
    /// Commands that show it.
    pub look: &'static [&'static str],
}

impl Incident {
    /// What a person is told of it.
    #[must_use]
    pub fn guide(self) -> Guide {
        match self {
            Self::StringsForNumbers => STRINGS_FOR_NUMBERS,
            Self::ClockAhead => CLOCK_AHEAD,
            Self::DuplicateStorm => DUPLICATE_STORM,
            Self::ReplayFailsAgain => REPLAY_FAILS_AGAIN,
            Self::SilentSource => SILENT_SOURCE,
            Self::HalfAFile => HALF_A_FILE,
            Self::FileAgain => FILE_AGAIN,
            Self::SwappedColumns => SWAPPED_COLUMNS,
            Self::EmptySnapshot => EMPTY_SNAPSHOT,
            Self::FeedLate => FEED_LATE,
        }
    }
}

/// What to look at when a delivery of visits is held.
const HELD: &[&str] = &[
    "vitalake feed history clinic_visits",
    "vitalake query \"SELECT _business_date, COUNT(*) AS visits FROM raw.clinic_visits GROUP BY _business_date\"",
    "vitalake alert list",
    "vitalake runbook delivery_held",
];

const STRINGS_FOR_NUMBERS: Guide = Guide {
    what: "every second device sends its heart rate as \"72 bpm\" and its battery as \"80 %\"",
    caught: "the readings land; a value that is no number is null, and kept as it came in _rescued",
    alert: "schema_drift",
    runbook: "schema_drift",
    look: &[
        "vitalake query \"SELECT COUNT(*) AS readings, COUNT(heart_rate) AS heart_rates, COUNT(_rescued) AS rescued FROM raw.wearable_readings\"",
        "vitalake alert list",
        "vitalake runbook schema_drift",
    ],
};

const CLOCK_AHEAD: Guide = Guide {
    what: "every fifth device says that it is tomorrow",
    caught: "the readings land under the time that they name; nothing else knows what time it was",
    alert: "readings_ahead",
    runbook: "readings_ahead",
    look: &["vitalake alert list", "vitalake runbook readings_ahead"],
};

const DUPLICATE_STORM: Guide = Guide {
    what: "each reading is sent ten times",
    caught: "raw keeps every copy, curated has each reading once, and the books say where the others went",
    alert: "readings_repeated",
    runbook: "readings_repeated",
    look: &[
        "vitalake reconcile curated.vitals",
        "vitalake query \"SELECT COUNT(*) AS copies FROM raw.wearable_readings\"",
        "vitalake alert list",
        "vitalake runbook readings_repeated",
    ],
};

const REPLAY_FAILS_AGAIN: Guide = Guide {
    what: "every fifth device calls itself watch-N in place of dev-N",
    caught: "its readings are in quarantine under device_id.pattern; a replay leaves them there and counts the attempt, until the contract takes the name: pattern '^(dev|watch)-[0-9]+$', a restart, and a replay",
    alert: "poison_records",
    runbook: "poison_records",
    look: &[
        "vitalake quarantine list",
        "vitalake quarantine replay wearable_readings",
        "vitalake query \"SELECT _rule, _attempts, COUNT(*) AS readings FROM quarantine.wearable_readings GROUP BY _rule, _attempts\"",
        "vitalake runbook poison_records",
    ],
};

const SILENT_SOURCE: Guide = Guide {
    what: "readings that were measured three hours ago, beside app events of now; then, as long as nobody else sends any, no reading",
    caught: "nothing is lost: raw and curated have the readings; on a new lake serving.vitals_hourly holds them back, because its contract wants hours of the last two, until readings of now come and open the gate: vitalake simulate --duration 10",
    alert: "readings_silent",
    runbook: "readings_silent",
    look: &[
        "vitalake gate status serving.vitals_hourly",
        "vitalake query \"SELECT SUM(readings) AS readings, _published FROM serving.vitals_hourly_live GROUP BY _published\"",
        "vitalake alert list",
        "vitalake runbook readings_silent",
    ],
};

const HALF_A_FILE: Guide = Guide {
    what: "of the clinic's visits yesterday's file with 13 of its 40 rows, and then the whole one",
    caught: "the first is held, because the contract wants 20 visits of a day at least: none of its rows is in raw.clinic_visits; the second comes in, and what to do with the first is for a person to say, with the id that stands above",
    alert: "delivery_held",
    runbook: "delivery_held",
    look: HELD,
};

const FILE_AGAIN: Guide = Guide {
    what: "the file of yesterday's visits, twice",
    caught: "the second is known by its content: each visit is there once, and the ledger says that it came; no alert fires",
    alert: "",
    runbook: "",
    look: &[
        "vitalake feed history clinic_visits",
        "vitalake query \"SELECT COUNT(*) AS visits FROM raw.clinic_visits\"",
    ],
};

const SWAPPED_COLUMNS: Guide = Guide {
    what: "yesterday's visits, with the patient's id where the visit's id belongs, under the header as ever",
    caught: "a rule of severity fatal knows the ids of visits by their form: the file is held, and no row of it is anywhere else",
    alert: "delivery_held",
    runbook: "delivery_held",
    look: HELD,
};

const EMPTY_SNAPSHOT: Guide = Guide {
    what: "the list of who wears what, which takes the place of the one before, with no row",
    caught: "it is held, and the list of before stays: readings go on to find their patients; nobody was deleted",
    alert: "delivery_held",
    runbook: "delivery_held",
    look: &[
        "vitalake feed history device_assignments",
        "vitalake query \"SELECT COUNT(*) AS assignments FROM raw.device_assignments\"",
        "vitalake alert list",
    ],
};

const FEED_LATE: Guide = Guide {
    what: "readings as ever, and of the clinic's visits the file of three days ago, none of the days since",
    caught: "its rows are in raw.clinic_visits; the feed says that yesterday's file was due four hours ago, and stops saying it when the file comes: put visits_YYYYMMDD.csv of yesterday into deliveries/visits",
    alert: "visits_late",
    runbook: "feed_late",
    look: &[
        "vitalake feed list",
        "vitalake query \"SELECT at, scope, got AS seconds, passed FROM ops.checks WHERE rule = 'feed_late'\"",
        "vitalake alert list",
        "vitalake runbook feed_late",
    ],
};
