"""The questions that a clinic asks of the example project, and how each engine spells them.

A question is made of columns, conditions and an order, so that an engine that takes them apart (Superset's charts) is asked
the same as one that takes SQL. They are written in Druid's SQL, names in double quotes; what another engine spells
otherwise stands in braces: {day "hour"}, {at 2026-03-29 00:00:00}, {true "paid"}.
"""
import dataclasses
import re

VITALS, ENGAGEMENT, CHARGES = "serving.vitals_hourly", "serving.engagement_daily", "serving.care_charges"

# {0} is what stands behind the word.
SPELLED = {
    "druid": {
        "day": "TIME_FLOOR({0}, 'P1D')", "month": "TIME_FLOOR({0}, 'P1M')", "at": "TIMESTAMP '{0}'", "on": "DATE '{0}'",
        "day_in_berlin": "TIME_FLOOR({0}, 'P1D', NULL, 'Europe/Berlin')",
        "true": "{0}", "false": "NOT {0}", "quarter": "TIMESTAMP_TO_MILLIS({0}) / 900000",
    },
    "duckdb": {
        "day": "date_trunc('day', {0})", "month": "date_trunc('month', {0})", "at": "TIMESTAMPTZ '{0}+00'", "on": "DATE '{0}'",
        "day_in_berlin": "date_trunc('day', {0} AT TIME ZONE 'Europe/Berlin') AT TIME ZONE 'Europe/Berlin'",
        "true": "{0}", "false": "NOT {0}", "quarter": "epoch_ms({0}) // 900000",
    },
    "spark": {
        "day": "date_trunc('DAY', {0})", "month": "date_trunc('MONTH', {0})", "at": "TIMESTAMP '{0}'", "on": "DATE '{0}'",
        "day_in_berlin": "to_utc_timestamp(date_trunc('DAY', from_utc_timestamp({0}, 'Europe/Berlin')), 'Europe/Berlin')",
        "true": "{0}", "false": "NOT {0}", "quarter": "unix_millis({0}) div 900000",
    },
    "datafusion": {
        "day": "date_trunc('day', {0})", "month": "date_trunc('month', {0})", "at": "TIMESTAMP '{0}'", "on": "DATE '{0}'",
        "day_in_berlin": "date_trunc('day', {0} AT TIME ZONE 'Europe/Berlin')",
        "true": "{0}", "false": "NOT {0}", "quarter": "CAST(floor(EXTRACT(EPOCH FROM {0}) / 900) AS BIGINT)",
    },
}
# What is published to Druid: it stores no truth values, but 1 and 0; no dates, but their text; and a table's time is `__time`.
SPELLED["druid-stored"] = {**SPELLED["druid"], "true": "{0} = 1", "false": "{0} = 0", "on": "'{0}'"}
TIMES = {VITALS: '"hour"', CHARGES: '"charged_at"'}


@dataclasses.dataclass(frozen=True)
class Question:
    """`by` and `measures` say of each column its kind (same_values.py) and expression; without measures it asks for rows."""

    title: str
    # Or what stands behind FROM, with its tables in braces.
    table: str
    by: dict = dataclasses.field(default_factory=dict)
    measures: dict = dataclasses.field(default_factory=dict)
    where: str = ""
    having: str = ""
    # (column, whether descending)…; with a limit it must tell all rows apart.
    order: tuple = ()
    limit: int = 0

    def kinds(self):
        return [kind for kind, _ in (*self.by.values(), *self.measures.values())]

    def sql(self, dialect, named):
        """Its text; `named` gives a table's name."""
        def at(expression):
            return expression.replace(TIMES.get(self.table, "__time"), "__time") if dialect == "druid-stored" else expression

        columns = ", ".join(f'{at(expression)} AS "{name}"' for name, (_, expression) in {**self.by, **self.measures}.items())
        text = f"SELECT {columns} FROM {self.table if '{' in self.table else named(self.table)}"
        if self.where:
            text += f" WHERE {at(self.where)}"
        if self.by and self.measures:
            text += " GROUP BY " + ", ".join(at(expression) for _, expression in self.by.values())
        if self.having:
            text += f" HAVING {self.having}"
        if self.order:
            text += " ORDER BY " + ", ".join(f'"{name}" {"DESC" if descending else "ASC"}' for name, descending in self.order)
        if self.limit:
            text += f" LIMIT {self.limit}"
        return spell(text, dialect, named)


def spell(text, dialect, named):
    def word(found):
        if found[1] == "table":
            return named(found[2])
        return SPELLED[dialect][found[1]].format(found[2])
    text = re.sub(r"\{(\w+) ([^{}]*)\}", word, text)
    return text.replace('"', "`") if dialect == "spark" else text


def whole(**columns):
    return {name: ("whole", expression) for name, expression in columns.items()}


def real(**columns):
    return {name: ("real", expression) for name, expression in columns.items()}


def text(**columns):
    return {name: ("text", expression) for name, expression in columns.items()}


COUNT = whole(n="COUNT(*)")
DAY = {"on_day": ("instant", '{day "hour"}')}
MONEY = {"euros": ("cents", 'SUM(CAST("amount" AS DECIMAL(12, 2)))')}

QUESTIONS = (
    # Counts, sums, averages.
    Question("how many hours of how many readings", VITALS, measures=COUNT | whole(r="SUM(\"readings\")", s="SUM(\"steps\")")),
    Question("the mean of the hours' means", VITALS, measures=real(h='AVG("heart_rate_avg")', s='AVG("spo2_avg")', t='AVG("skin_temp_avg")')),
    Question("the mean of all readings", VITALS, measures=real(h='SUM("heart_rate_avg" * "readings") / SUM("readings")')),
    Question("the lowest, the highest, the first and the last", VITALS, measures=whole(
        low='MIN("heart_rate_min")', high='MAX("heart_rate_max")') | {"since": ("instant", 'MIN("hour")'), "until": ("instant", 'MAX("hour")')}),
    Question("how many patients", VITALS, measures=whole(n='COUNT(DISTINCT "patient_id")')),
    # Groups and time buckets.
    Question("readings a day", VITALS, by=DAY, measures=whole(n='SUM("readings")'), order=(("on_day", False),)),
    Question("readings a day in Berlin, over the night without two o'clock", VITALS,
             by={"on_day": ("instant", '{day_in_berlin "hour"}')}, measures=whole(n='SUM("readings")'), order=(("on_day", False),)),
    Question("readings a month", VITALS, by={"in_month": ("instant", '{month "hour"}')}, measures=whole(n='SUM("readings")'), order=(("in_month", False),)),
    Question("hours of the night", VITALS, by=whole(clock='EXTRACT(HOUR FROM "hour")'), measures=real(h='AVG("heart_rate_avg")'),
             where='EXTRACT(HOUR FROM "hour") < 6', order=(("clock", False),)),
    Question("each patient's steps and peak", VITALS, by=text(patient='"patient_id"'), measures=whole(s='SUM("steps")', peak='MAX("heart_rate_max")')),
    Question("each patient's day", VITALS, by=text(patient='"patient_id"') | DAY, measures=real(h='AVG("heart_rate_avg")') | whole(s='SUM("steps")')),
    Question("the whole table of hours", VITALS, by=text(patient_id='"patient_id"') | {"hour": ("instant", '"hour"')} | whole(
        readings='"readings"') | real(heart_rate_avg='"heart_rate_avg"') | whole(heart_rate_min='"heart_rate_min"', spo2_min='"spo2_min"') | real(
        spo2_avg='"spo2_avg"', skin_temp_avg='"skin_temp_avg"') | whole(steps='"steps"')),
    # Filters, top, having.
    Question("who walked most", VITALS, by=text(patient='"patient_id"'), measures=whole(s='SUM("steps")'), order=(("s", True), ("patient", False)), limit=5),
    Question("whose oxygen was low, again and again", VITALS, by=text(patient='"patient_id"'), measures=COUNT, where='"spo2_min" < 88', having="COUNT(*) >= 5"),
    Question("hours of one day, its end not included", VITALS, measures=COUNT | whole(s='SUM("steps")'),
             where='"hour" >= {at 2026-03-29 00:00:00} AND "hour" < {at 2026-03-30 00:00:00}'),
    Question("hours by how fast the heart was", VITALS, by=text(
        pace="CASE WHEN \"heart_rate_avg\" < 60 THEN 'slow' WHEN \"heart_rate_avg\" BETWEEN 60 AND 100 THEN 'as usual' ELSE 'fast' END"), measures=COUNT),
    Question("hours of alarm, beside all", VITALS, by=DAY, measures=COUNT | whole(alarms='COUNT(*) FILTER (WHERE "heart_rate_max" > 140 OR "spo2_min" < 88)')),
    Question("some patients by name", VITALS, by=text(patient='"patient_id"'), measures=COUNT, where="\"patient_id\" IN ('pat-0003', 'pat-0011', 'pat-4711')"),
    Question("of nobody", VITALS, measures=COUNT | whole(s='SUM("steps")') | real(h='AVG("heart_rate_avg")'), where="\"patient_id\" = 'pat-4711'"),
    # Nulls.
    Question("hours without oxygen, or without steps", VITALS, measures=whole(
        all_of_them="COUNT(*)", with_oxygen='COUNT("spo2_avg")', without='COUNT(*) FILTER (WHERE "spo2_avg" IS NULL)', walked='COALESCE(SUM("steps"), 0)')),
    Question("notes: absent, empty, of any length", CHARGES, measures=whole(
        all_of_them="COUNT(*)", there='COUNT("note")', empty="COUNT(*) FILTER (WHERE \"note\" = '')", kinds='COUNT(DISTINCT "note")')),
    # Text.
    Question("charges by note, in every script", CHARGES, by=text(note='"note"'), measures=COUNT),
    Question("notes that say a name, or a sign that means something to LIKE", CHARGES, measures=whole(
        name="COUNT(*) FILTER (WHERE \"note\" LIKE 'Müller%')", quoted="COUNT(*) FILTER (WHERE \"note\" LIKE '%''quoted''%')", loud="COUNT(*) FILTER (WHERE UPPER(\"note\") = 'ÉTÉ')")),
    # Dates.
    Question("the app a day", ENGAGEMENT, by={"day": ("day", '"day"')}, measures=whole(e='SUM("events")', s='SUM("sessions")')),
    Question("the app by pathway", ENGAGEMENT, by=text(cohort='"cohort"'), measures=whole(e='SUM("events")', s='SUM("sessions")', r='SUM("self_reports")')),
    Question("the app on two days", ENGAGEMENT, measures=whole(e='SUM("events")'), where='"day" >= {on 2026-03-29} AND "day" < {on 2026-03-31}'),
    Question("reports a session", ENGAGEMENT, by=text(cohort='"cohort"'), measures=real(
        share='CAST(SUM("self_reports") AS DOUBLE) / NULLIF(SUM("sessions"), 0)')),
    Question("charges by the day of the bill, the leap day among them", CHARGES, by={"billed_on": ("day", '"billed_on"')}, measures=COUNT),
    # Decimals, large numbers, truth values.
    Question("what was charged", CHARGES, measures=MONEY),
    Question("what was charged a patient, most first", CHARGES, by=text(patient='"patient_id"'), measures=MONEY | COUNT,
             order=(("euros", True), ("patient", False)), limit=10),
    Question("what is paid", CHARGES, by={"paid": ("truth", '"paid"')}, measures=COUNT | MONEY),
    Question("what is owed", CHARGES, measures=COUNT | MONEY, where='{false "paid"}'),
    Question("who paid everything", CHARGES, by=text(patient='"patient_id"'), measures=whole(
        paid='COUNT(*) FILTER (WHERE {true "paid"})', owed='COUNT(*) FILTER (WHERE {false "paid"})', unknown='COUNT(*) FILTER (WHERE "paid" IS NULL)')),
    Question("the insurer's numbers, above 2^53", CHARGES, measures=whole(low='MIN("reference")', high='MAX("reference")', kinds='COUNT(DISTINCT "reference")')),
    Question("charges at their moments, latest first", CHARGES, by=text(charge_id='"charge_id"') | {"charged_at": ("instant", '"charged_at"')},
             order=(("charged_at", True),), limit=20),
    Question("the whole table of charges", CHARGES, by=text(charge_id='"charge_id"', patient_id='"patient_id"') | {
        "charged_at": ("instant", '"charged_at"'), "billed_on": ("day", '"billed_on"')} | text(amount='"amount"') | real(hours_of_care='"hours_of_care"') | whole(
        reference='"reference"') | {"paid": ("truth", '"paid"')} | text(note='"note"')),
    # Below what is published: not for an engine that has serving alone.
    Question("readings of each patient", "curated.vitals", by=text(patient='"patient_id"'), measures=COUNT | whole(devices='COUNT(DISTINCT "device_id")')),
    Question("readings that lack something", "curated.vitals", measures=whole(o='COUNT("spo2")', t='COUNT("skin_temp")', s='COUNT("steps")', n="COUNT(*)")),
    Question("readings as they came, copies too", "raw.wearable_readings", measures=COUNT | whole(d='COUNT(DISTINCT "device_id")', b='SUM("battery")')),
    Question("what was refused, and why", "quarantine.vitals", by=text(rule='"_rule"'), measures=COUNT),
    Question("patients by sex and pathway", "raw.patients", by=text(sex='"sex"', cohort='"cohort"'), measures=COUNT | {"eldest": ("day", 'MIN("birth_date")')}),
    Question("readings a quarter of an hour", "curated.vitals", by=whole(quarter='{quarter "recorded_at"}'), measures=COUNT,
             where='"recorded_at" >= {at 2026-03-29 00:00:00} AND "recorded_at" < {at 2026-03-29 03:00:00}'),
    Question("charges of a pathway", '{table serving.care_charges} c JOIN {table raw.patients} p ON p."patient_id" = c."patient_id"', by=text(cohort='p."cohort"'), measures=COUNT | {"euros": ("cents", 'SUM(CAST(c."amount" AS DECIMAL(12, 2)))')}),
)
