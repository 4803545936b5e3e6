"""Writes the Avro files beside it: one record of every kind of type, once with each codec (PyPI fastavro, cramjam, backports.zstd)."""
import datetime
import decimal
import pathlib
import uuid

import fastavro

SCHEMA = {
    "type": "record",
    "name": "Visit",
    "namespace": "clinic.records",
    "doc": "Visits of the day",
    "fields": [
        {"name": "visitId", "type": {"type": "string", "logicalType": "uuid"}, "doc": "The visit's id"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "seenAt", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "clockTime", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "opens", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "fee", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "paid", "type": {"type": "fixed", "name": "Money", "size": 8, "logicalType": "decimal", "precision": 12, "scale": 2}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["PLANNED", "DONE"]}},
        {"name": "stateBefore", "type": ["null", "State"]},
        {"name": "refund", "type": ["null", "clinic.records.Money"]},
        {"name": "codes", "type": {"type": "array", "items": "string"}},
        {"name": "beds", "type": {"type": "array", "items": {"type": "record", "name": "Bed", "fields": [{"name": "ward", "type": "string"}]}}},
        {"name": "bed", "type": "Bed"},
        {"name": "lastBed", "type": ["null", "clinic.records.Bed"]},
        {"name": "notes", "type": {"type": "map", "values": "string"}},
        {"name": "patient", "type": {"type": "record", "name": "Patient", "namespace": "clinic.people", "fields": [
            {"name": "given", "type": "string"},
            {"name": "mother", "type": ["null", "Patient"]},
            {"name": "weight", "type": ["null", "int", "double"]},
            {"name": "answer", "type": ["null", "int", "string"]},
        ]}},
        {"name": "urgent", "type": ["boolean", "null"]},
        {"name": "score", "type": "float"},
        {"name": "signature", "type": "bytes"},
        {"name": "claimed", "type": {"type": "string", "logicalType": "date"}},
    ],
}
VISIT = {
    "visitId": uuid.UUID("01987c1e-0000-7000-8000-000000000001"), "day": datetime.date(2026, 4, 13),
    "at": datetime.datetime(2026, 4, 13, 9, 30, tzinfo=datetime.timezone.utc), "seenAt": None,
    "clockTime": datetime.datetime(2026, 4, 13, 9, 30), "opens": datetime.time(8, 0),
    "fee": decimal.Decimal("12.50"), "paid": decimal.Decimal("12.50"), "state": "DONE", "stateBefore": None, "refund": None,
    "codes": ["a"], "beds": [{"ward": "w"}], "bed": {"ward": "w"}, "lastBed": None, "notes": {"a": "b"},
    "patient": {"given": "g", "mother": None, "weight": 1, "answer": "x"}, "urgent": True, "score": 0.5,
    "signature": b"\x00", "claimed": "x",
}

for codec in ("null", "deflate", "snappy", "zstandard"):
    with open(pathlib.Path(__file__).with_name(f"visits_{codec}.avro"), "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(SCHEMA), [VISIT], codec=codec, sync_marker=bytes(16))
