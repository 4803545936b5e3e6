//! What a clinic's systems deliver, on real files: appointments that are rebooked and attended, days that are restated,
//! glucose beside the meal before it, and a bad night. Skipped where the files are absent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstest::rstest;
use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

/// A folder of real files; none where it is absent, which is said.
fn data(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// A dataset with its columns, as `name type` with `!` where it is required and `*` where it is of the key, and with
/// its custom properties and rules as YAML.
struct Dataset {
    layer: &'static str,
    name: &'static str,
    columns: &'static str,
    properties: &'static str,
    quality: &'static str,
    model: Option<&'static str>,
}

impl Dataset {
    fn contract(&self, number: usize) -> String {
        let Self { name, columns, properties, quality, .. } = self;
        let mut text = format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-{number:012}\nname: {name}\n\
             version: 1.0.0\nstatus: active\nschema:\n  - name: {name}\n"
        );
        if !quality.is_empty() {
            let _ = writeln!(text, "    quality:\n{quality}");
        }
        text.push_str("    properties:\n");
        let mut key = 0;
        for column in columns.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, kind) = column.split_once(' ').unwrap();
            let (kind, options) = kind.split_once('|').unwrap_or((kind, ""));
            let plain = kind.trim().trim_end_matches(['!', '*']);
            let _ = writeln!(text, "      - name: {name}\n        logicalType: {plain}");
            if kind.contains('!') {
                text.push_str("        required: true\n");
            }
            if kind.contains('*') {
                key += 1;
                let _ = writeln!(text, "        primaryKey: true\n        primaryKeyPosition: {key}");
            }
            for option in options.split("; ").filter(|option| !option.is_empty()) {
                let _ = writeln!(text, "        {}", option.trim());
            }
        }
        if !properties.is_empty() {
            text.push_str("customProperties:\n");
            for property in properties.lines().map(str::trim).filter(|line| !line.is_empty()) {
                let (property, value) = property.split_once(": ").unwrap();
                let _ = writeln!(text, "  - {{property: {property}, value: {value}}}");
            }
        }
        text
    }
}

/// A project and its server.
struct Clinic {
    folder: TempDir,
    place: Place,
    server: Option<Server>,
}

impl Clinic {
    fn new(datasets: &[Dataset]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("clinic");
        let mut files = BTreeMap::from([(
            "vitalake.yaml".to_owned(),
            "name: clinic\nstorage:\n  reserve_bytes: 0\n  commit_interval_ms: 300\n".to_owned(),
        )]);
        for (number, dataset) in datasets.iter().enumerate() {
            let Dataset { layer, name, model, .. } = dataset;
            files.insert(format!("contracts/{layer}/{name}.yaml"), dataset.contract(number));
            if let Some(model) = model {
                files.insert(format!("models/{layer}/{name}.sql"), (*model).to_owned());
            }
        }
        for (name, text) in files {
            let path = project.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = Some(place.start().ready());
        Self { folder, place, server }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn vitalake(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(crate::binary())
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("VITALAKE_SERVER", format!("http://{}", self.place.http))
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    }

    fn deliver(&self, dataset: &str, file: &Path, more: &[&str]) {
        let file = file.to_str().unwrap();
        let (status, said) = self.vitalake(&[&["ingest", dataset, file], more].concat());
        assert_eq!(status, 0, "{said}");
    }

    /// Waits until a question has this answer.
    fn until(&self, sql: &str, expected: &[i64]) {
        let mut found = Vec::new();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while found != expected {
            if let Ok(rows) = self.place.ask(sql) {
                let first = rows.first().cloned().unwrap_or_default();
                found = first.iter().map(|value| value.as_i64().unwrap_or(0)).collect();
            }
            assert!(
                std::time::Instant::now() < end,
                "{sql}: {found:?}\n{}\n{}",
                self.place.troubles(),
                self.place.said()
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn stop(mut self) {
        self.server.take().unwrap().stop();
    }
}

const APPOINTMENT_COLUMNS: &str = "
    appointment_id string!
    slot_id string!
    scheduling_date date
    appointment_date date!
    appointment_time string
    status string!
    patient_id string
    waiting_time number
";

/// Appointments as the scheduling system has them: the newest state of each.
const APPOINTMENTS: &str = "-- kind: upsert
-- key: appointment_id
-- sequence: stage
SELECT appointment_id, slot_id, appointment_date, patient_id, status, waiting_time,
  CASE status WHEN 'scheduled' THEN 0 ELSE 1 END AS stage
FROM raw.appointments
";

/// How many came on each day, in slots that exist.
const ATTENDANCE: &str = "-- kind: full
SELECT a.appointment_date, count(*) AS appointments, count(s.slot_id) AS in_slots,
  count(CASE WHEN a.status = 'attended' THEN 1 END) AS attended
FROM curated.appointments_now a
LEFT JOIN raw.slots s ON s.slot_id = a.slot_id
GROUP BY a.appointment_date
";

fn clinic_of_appointments() -> Clinic {
    Clinic::new(&[
        Dataset {
            layer: "raw",
            name: "appointments",
            columns: APPOINTMENT_COLUMNS,
            properties: "source: feed",
            quality: "",
            model: None,
        },
        Dataset {
            layer: "raw",
            name: "slots",
            columns: "slot_id string!*\n appointment_date date\n appointment_time string\n is_available string",
            properties: "source: feed\n delivery: replace",
            quality: "",
            model: None,
        },
        Dataset {
            layer: "curated",
            name: "appointments_now",
            columns: "appointment_id string!*\n slot_id string!\n appointment_date date!\n patient_id string\n status string!\n waiting_time number",
            properties: "",
            quality: "",
            model: Some(APPOINTMENTS),
        },
        Dataset {
            layer: "serving",
            name: "attendance",
            columns: "appointment_date date!*\n appointments integer\n in_slots integer\n attended integer",
            properties: "",
            quality: "",
            model: Some(ATTENDANCE),
        },
    ])
}

#[test]
fn an_appointment_that_was_scheduled_and_then_attended_is_one_row() {
    let Some(folder) = data("appointments-medscheduler") else { return };
    let clinic = clinic_of_appointments();
    let attended = std::fs::read_to_string(folder.join("appointments.csv")).unwrap();
    let header = attended.lines().next().unwrap();
    let status = header.split(',').position(|name| name == "status").unwrap();
    // The file of the days before, when nobody had come yet.
    let scheduled: Vec<String> = attended
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields: Vec<&str> = line.split(',').collect();
            fields[status] = "scheduled";
            fields.join(",")
        })
        .collect();
    let scheduled = clinic.file("scheduled.csv", &format!("{header}\n{}\n", scheduled.join("\n")));
    clinic.deliver("slots", &folder.join("slots.csv"), &[]);
    clinic.deliver("appointments", &scheduled, &[]);
    let counts = "SELECT SUM(appointments), SUM(in_slots), SUM(attended) FROM serving.attendance";
    clinic.until(counts, &[2370, 2370, 0]);
    clinic.deliver("appointments", &folder.join("appointments.csv"), &[]);
    // 2,370 appointments of 2,219 slots: a slot that is booked again does not multiply them.
    clinic.until(counts, &[2370, 2370, 1722]);
    // What was known before comes late, and changes nothing.
    let late = clinic.file(
        "late.csv",
        &format!("{}\n", std::fs::read_to_string(&scheduled).unwrap().lines().take(50).collect::<Vec<_>>().join("\n")),
    );
    clinic.deliver("appointments", &late, &[]);
    clinic.until("SELECT COUNT(*) FROM raw.appointments", &[2370 + 2370 + 49]);
    clinic.until(counts, &[2370, 2370, 1722]);
    clinic.stop();
}

const DAYS: &str = "
    Id string!
    ActivityDate date!|logicalTypeOptions: {format: M/d/yyyy}
    TotalSteps integer!
    Calories integer
";

#[test]
fn a_day_that_is_delivered_again_with_other_numbers_takes_the_place_of_the_first() {
    let Some(folder) = data("fitbit-2016-04") else { return };
    let clinic = Clinic::new(&[
        Dataset {
            layer: "raw",
            name: "daily_activity",
            columns: DAYS,
            properties: "source: feed",
            quality: "",
            model: None,
        },
        Dataset {
            layer: "serving",
            name: "steps_by_day",
            columns: "day date!*\n steps integer\n wearers integer\n least integer",
            properties: "",
            quality: "",
            model: Some(
                "-- kind: rollup\n-- time: day\nSELECT ActivityDate AS day, sum(TotalSteps) AS steps, count(*) AS wearers, min(TotalSteps) AS least\nFROM raw.daily_activity\nGROUP BY ActivityDate\n",
            ),
        },
    ]);
    let text = std::fs::read_to_string(folder.join("dailyActivity_merged.csv")).unwrap();
    let (header, lines) = text.split_once('\n').unwrap();
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.trim_end().split(',').collect()).collect();
    let sum = |rows: &[Vec<&str>]| rows.iter().map(|row| row[2].parse::<i64>().unwrap()).sum::<i64>();
    let answer = "SELECT SUM(steps), SUM(wearers) FROM serving.steps_by_day";
    clinic.deliver("daily_activity", &folder.join("dailyActivity_merged.csv"), &["--business-date", "2016-05-12"]);
    clinic.until(answer, &[sum(&rows), 940]);
    // Restated: a tenth of the days has other steps, and one wearer's rows are gone.
    let restated: Vec<String> = rows
        .iter()
        .filter(|row| row[0] != "4057192912")
        .enumerate()
        .map(|(number, row)| {
            let mut row: Vec<String> = row.iter().map(ToString::to_string).collect();
            if number % 10 == 0 {
                row[2] = (row[2].parse::<i64>().unwrap() + 1000).to_string();
            }
            row.join(",")
        })
        .collect();
    let file = clinic.file("restated.csv", &format!("{}\n{}\n", header.trim_end(), restated.join("\n")));
    let restated: Vec<Vec<&str>> = restated.iter().map(|row| row.split(',').collect()).collect();
    let expected = [sum(&restated), i64::try_from(restated.len()).unwrap()];
    assert_ne!(expected, [sum(&rows), 940]);
    clinic.deliver("daily_activity", &file, &["--business-date", "2016-05-12"]);
    clinic.until(answer, &expected);
    clinic.until("SELECT COUNT(*) FROM raw.daily_activity", &expected[1..]);
    // The same again is known.
    clinic.deliver("daily_activity", &file, &["--business-date", "2016-05-12"]);
    clinic.until(answer, &expected);
    clinic.stop();
}

/// What was eaten last, until the next meal.
const MEALS: &str = "-- kind: upsert
-- key: wearer
-- sequence: eaten_at
SELECT '001' AS wearer, f.eaten_at, f.calorie FROM raw.food f
";

const GLUCOSE: &str = "-- kind: append
SELECT g.measured_at, g.glucose, m.eaten_at, m.calorie
FROM raw.glucose g
LEFT JOIN curated.meals m
  ON m.wearer = g.wearer
  AND g.measured_at >= m._valid_from
  AND (m._valid_to IS NULL OR g.measured_at < m._valid_to)
  AND g.measured_at < m._valid_from + INTERVAL 2 HOURS
";

fn minutes(text: &str) -> i64 {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
    time.and_utc().timestamp() / 60
}

/// A file's lines with a column `wearer` before the others.
fn of_wearer(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let line = |(number, line): (usize, &str)| format!("{},{line}\n", if number == 0 { "wearer" } else { "001" });
    text.lines().enumerate().map(line).collect()
}

fn fields(text: &str, names: [&str; 2]) -> Vec<[String; 2]> {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = names.map(|name| header.iter().position(|column| column == name).unwrap());
    lines.map(|line| at.map(|at| line[at].clone())).collect()
}

fn glucose_clinic() -> Clinic {
    Clinic::new(&[
        Dataset {
            layer: "raw",
            name: "food",
            columns: "wearer string!
                date date!
                eaten_at timestamp!|logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: UTC}; customProperties: [{property: path, value: $.time_begin}]
                calorie number",
            properties: "source: feed",
            quality: "",
            model: None,
        },
        Dataset {
            layer: "raw",
            name: "glucose",
            columns: "wearer string!
                measured_at timestamp!|logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: UTC}; customProperties: [{property: path, value: $.timestamp}]
                glucose number",
            properties: "source: feed",
            quality: "",
            model: None,
        },
        Dataset {
            layer: "curated",
            name: "meals",
            columns: "wearer string!*\n eaten_at timestamp!\n calorie number",
            properties: "history: true",
            quality: "",
            model: Some(MEALS),
        },
        Dataset {
            layer: "curated",
            name: "glucose_after_meals",
            columns: "measured_at timestamp!\n glucose number\n eaten_at timestamp\n calorie number",
            properties: "",
            quality: "",
            model: Some(GLUCOSE),
        },
    ])
}

#[rstest]
#[case::meals_first(&["food", "glucose"])]
#[case::glucose_first(&["glucose", "food"])]
fn glucose_stands_beside_the_meal_of_the_two_hours_before(#[case] order: &[&str]) {
    let Some(folder) = data("bigideas-cgm") else { return };
    let clinic = glucose_clinic();
    let (food, glucose) = (of_wearer(&folder.join("Food_Log_001.csv")), of_wearer(&folder.join("Dexcom_001.csv")));
    let meals: Vec<i64> = fields(&food, ["date", "time_begin"])
        .iter()
        .filter(|[date, _]| !date.starts_with('s'))
        .map(|[_, begin]| minutes(begin))
        .collect();
    let measured = fields(&glucose, ["timestamp", "glucose"]);
    let after = |time: i64| meals.iter().filter(|meal| **meal <= time).max().is_some_and(|meal| time < meal + 120);
    let beside = measured.iter().filter(|[time, _]| after(minutes(time))).count();
    for name in order {
        let text = if *name == "food" { &food } else { &glucose };
        clinic.deliver(name, &clinic.file(&format!("{name}.csv"), text), &[]);
    }
    let expected = [measured.len(), beside].map(|count| i64::try_from(count).unwrap());
    clinic.until("SELECT COUNT(*), COUNT(eaten_at) FROM curated.glucose_after_meals", &expected);
    // The date that no one can read is in quarantine, with its row.
    clinic.until("SELECT COUNT(*) FROM quarantine.food", &[1]);
    clinic.stop();
}
