"""How a value of an answer reads in each engine: what it must come as, and what is done before two are compared.

A question says of which kind each of its columns is. An engine's cell of a kind must have one of the forms that stand
here for it; anything else is a difference, however equal it looks. Run by itself it prints the table.
"""
import dataclasses
import datetime
import decimal
import math
import typing

CENT = decimal.Decimal("0.01")
UTC = datetime.timezone.utc

# Sums of doubles come out otherwise in another order of addition; nothing else may differ.
REAL_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True)
class Form:
    """What a kind comes as in a family of engines: the SQL type or Arrow types that its column has, how a cell is read, and why so."""

    types: tuple
    read: typing.Callable
    why: str
    # What both sides are compared as in a column with nulls, where an engine loses something there.
    beside_nulls: typing.Callable | None = None


def whole(cell):
    if type(cell) is not int:
        raise ValueError(f"{cell!r} is no whole number")
    return cell


def real(cell):
    if type(cell) not in (int, float):
        raise ValueError(f"{cell!r} is no number")
    return float(cell)


def cents(cell):
    """A double's shortest text, to the cent: exact below 10^13."""
    return decimal.Decimal(repr(real(cell))).quantize(CENT)


def string(cell):
    if type(cell) is not str:
        raise ValueError(f"{cell!r} is no text")
    return cell


def truth(cell):
    if type(cell) is not bool:
        raise ValueError(f"{cell!r} is no truth value")
    return cell


def truth_of_long(cell):
    if type(cell) is not int or cell not in (0, 1):
        raise ValueError(f"{cell!r} is neither 0 nor 1")
    return cell == 1


def instant(cell):
    return datetime.datetime.fromisoformat(string(cell).replace("Z", "+00:00")).astimezone(UTC)


def day_of_instant(cell):
    at = instant(cell)
    if at.time() != datetime.time():
        raise ValueError(f"{cell!r} is no midnight")
    return at.date()


def day_of_milliseconds(cell):
    return day_of_instant((datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(milliseconds=int(string(cell)))).isoformat())


def as_it_is(cell):
    return cell


def scaled(cell):
    if cell.as_tuple().exponent not in (-2, 0):
        raise ValueError(f"{cell!r} has not two places")
    return cell.quantize(CENT)


DRUID = {
    "whole": Form(("BIGINT",), whole, "JSON has it exactly, above 2^53 too"),
    "real": Form(("DOUBLE",), real, "JSON writes 2.0 and 2 alike"),
    "cents": Form(("DOUBLE",), cents, "Druid has no decimals: the double next to it, read back to the cent"),
    "text": Form(("VARCHAR",), string, "as it is; '' is not null"),
    "truth": Form(("BOOLEAN",), truth, "as it is"),
    "instant": Form(("TIMESTAMP",), instant, "JSON has no times: ISO 8601 in UTC, milliseconds"),
    "day": Form(("DATE",), day_of_instant, "Druid writes a date as its midnight"),
}
ARROW = {
    "whole": Form(("int8", "int16", "int32", "int64", "uint64"), whole, "as it is"),
    "real": Form(("double",), real, "as it is"),
    "cents": Form(("decimal128", "decimal256"), scaled, "exact, with two places"),
    "text": Form(("string", "large_string", "string_view"), string, "as it is"),
    "truth": Form(("bool",), truth, "as it is"),
    "instant": Form(("timestamp",), lambda cell: cell.astimezone(UTC), "with its zone, compared as an instant"),
    "day": Form(("date32[day]",), as_it_is, "as it is"),
}
# What an engine has otherwise than its family.
OTHERWISE = {
    "DuckDB": {
        "whole": Form((*ARROW["whole"].types, "decimal128(38, 0)"), lambda cell: int(cell), "SUM of BIGINT is HUGEINT, which Arrow only has as decimal(38, 0)"),
    },
    # A column of Druid's; a condition that is computed is BOOLEAN there too.
    "Druid": {
        "truth": Form(("BIGINT", "BOOLEAN"), lambda cell: cell if type(cell) is bool else truth_of_long(cell), "Druid stores no truth values: a column is 1 or 0"),
        "day": Form(("VARCHAR", "DATE"), lambda cell: datetime.date.fromisoformat(cell[:10]), "Druid stores no dates: a column is their text, yyyy-MM-dd"),
    },
    # /chart/data passes on what the driver made of the answer, as JSON of a data frame, without SQL types.
    "Superset": {
        "whole": Form((), lambda cell: whole(int(cell) if type(cell) is float and cell.is_integer() else cell),
                      "pandas makes a column with nulls one of doubles: above 2^53 rounded there", beside_nulls=float),
        "instant": Form((), lambda cell: datetime.datetime.fromtimestamp(cell / 1000, UTC) if type(cell) in (int, float) else instant(cell), "milliseconds since 1970"),
        "day": Form((), lambda cell: datetime.datetime.fromtimestamp(cell / 1000, UTC).date() if type(cell) in (int, float) else day_of_instant(cell), "milliseconds of its midnight"),
        **{kind: dataclasses.replace(DRUID[kind], types=()) for kind in ("real", "cents", "text", "truth")},
    },
}
FAMILY = {"vitalake": DRUID, "Druid": DRUID, "Superset": DRUID, "DuckDB": ARROW, "Spark": ARROW, "delta-rs": ARROW, "pyarrow": ARROW}


def form(engine, kind):
    return OTHERWISE.get(engine, {}).get(kind) or FAMILY[engine][kind]


@dataclasses.dataclass
class Answer:
    """What an engine gave: names and types of the columns, cells as they came."""

    engine: str
    names: list
    types: list
    rows: list


def read(answer, kinds):
    """The rows with plain values. What has not the form that is right for the engine raises ValueError, which says where."""
    if len(answer.names) != len(kinds):
        raise ValueError(f"{answer.engine} gave the columns {answer.names}, want {len(kinds)}")
    forms = [form(answer.engine, kind) for kind in kinds]
    for name, kind, given, right in zip(answer.names, kinds, answer.types, forms):
        if right.types and not any(given == word or given.startswith(word + ("(" if "[" not in word else "")) or given.startswith(word + "[") for word in right.types):
            raise ValueError(f"{answer.engine}: the column {name} is {given}, want {kind}, which is {' or '.join(right.types)}")
    return [tuple(None if cell is None else cell_of(answer.engine, name, right, cell) for name, right, cell in zip(answer.names, forms, row)) for row in answer.rows]


def cell_of(engine, name, right, cell):
    try:
        return right.read(cell)
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"{engine}: a cell of the column {name}: {error}") from None


def same(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=REAL_TOLERANCE, abs_tol=1e-15) or (math.isnan(left) and math.isnan(right))
    return left == right


def difference(engine, kinds, left, right, ordered):
    """The first row in which ours and an engine's answer differ, as words; None when they are equal."""
    for column, kind in enumerate(kinds):
        blur = form(engine, kind).beside_nulls
        if blur and any(row[column] is None for row in right):
            left, right = blurred(blur, left, column), blurred(blur, right, column)
    if not ordered:
        left, right = sorted(left, key=order), sorted(right, key=order)
    if len(left) != len(right):
        return f"{len(left)} rows and {len(right)}"
    for number, (a, b) in enumerate(zip(left, right)):
        if not all(map(same, a, b)):
            return f"row {number}: {a} and {b}"
    return None


def blurred(blur, rows, column):
    return [tuple(blur(cell) if at == column and cell is not None else cell for at, cell in enumerate(row)) for row in rows]


def order(row):
    """Nulls first; doubles roughly, so that a last digit does not put a row elsewhere."""
    return [(cell is not None, float(f"{cell:.9g}") if isinstance(cell, float) else cell if cell is not None else 0) for cell in row]


def table():
    """The forms as Markdown: one line for each kind and form, with the engines that have it."""
    lines = ["| kind | engines | type there | compared |", "|---|---|---|---|"]
    for kind in DRUID:
        engines = {}
        for engine in FAMILY:
            engines.setdefault(form(engine, kind).why, []).append(engine)
        for why, names in engines.items():
            types = form(names[0], kind).types
            lines.append(f"| {kind} | {', '.join(names)} | {', '.join(types) or 'JSON'} | {why} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
