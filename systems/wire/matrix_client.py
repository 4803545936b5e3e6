"""Asks the same questions as weak roles by every surface (Druid SQL, REST, PostgreSQL's wire in both of its forms, Flight SQL)
and compares each answer with SQLite's over a copy that is masked and filtered here."""
import hashlib
import hmac
import json
import sqlite3
import sys
import urllib.error
import urllib.request

import adbc_driver_flightsql.dbapi as flight
import psycopg

told = json.load(open(sys.argv[1]))
COLUMNS = ["who", "name", "zip", "ward", "weight", "visits"]
SHAPES = [
    "SELECT $ FROM T", "SELECT DISTINCT $ FROM T", "SELECT $, COUNT(*) FROM T GROUP BY $", "SELECT $ FROM T GROUP BY $ HAVING COUNT(*) > 1",
    "SELECT COUNT($), COUNT(DISTINCT $) FROM T", "SELECT MIN($), MAX($) FROM T", "SELECT COUNT(*) FROM T WHERE $ IS NULL",
    "SELECT a.visits FROM T a JOIN T b ON a.$ = b.$", "SELECT visits FROM T WHERE $ IN (SELECT $ FROM T WHERE visits > 1)",
    "SELECT visits FROM T p WHERE EXISTS (SELECT 1 FROM T q WHERE q.$ = p.$ AND q.visits > p.visits)",
    "SELECT visits, ROW_NUMBER() OVER (PARTITION BY $ ORDER BY visits) FROM T", "SELECT visits, DENSE_RANK() OVER (ORDER BY $) FROM T WHERE $ IS NOT NULL",
    "SELECT CASE WHEN $ IS NULL THEN 'none' ELSE 'some' END FROM T", "SELECT $ FROM T UNION ALL SELECT $ FROM T",
    "WITH c AS (SELECT $ AS v, visits FROM T) SELECT v, SUM(visits) FROM c GROUP BY v", "SELECT (SELECT MAX($) FROM T) AS m",
    "SELECT COUNT(*) FROM T WHERE 10 / visits > 2 AND $ IS NOT NULL", "SELECT SUM(10 / visits) FROM T WHERE $ IS NOT NULL",
    "SELECT $ FROM T WHERE $ IS NOT NULL ORDER BY $ LIMIT 1", "SELECT $ FROM T WHERE $ IS NOT NULL ORDER BY $ DESC LIMIT 1",
]
GUESSES = ["name = 'Zebulon'", "name = '***'", "name LIKE 'Z%'", "zip = '94110'", "zip = '941'", "zip BETWEEN '03600' AND '03700'", "zip = '000'",
           "weight = 70", "weight > 71 AND weight < 72", "ward = 'south' OR ward IS NULL", "visits = 0", "who = 'p-1'"]
SECRETS = ["Zebulon", "Xanthippe", "Quirinius", "94110", "03601", "p-1", "p-2", "71.25", "c-secret"]


def shown(row, role):
    """A row as a role may see it, by rules that are written here anew; none where it may not."""
    if role == "analyst" and row["ward"] != "north":
        return None
    seen = dict(row)
    seen["who"] = hmac.new(told["key"].encode(), row["who"].encode(), hashlib.sha256).hexdigest()[:32]
    seen["name"] = row["name"] and "***"
    if role == "analyst":
        seen["zip"] = row["zip"] and ({"94110": "941", "10001": "100", "77777": "777"}.get(row["zip"], "000"))
        seen["weight"] = None if row["weight"] is None else row["weight"] // 10 * 10
    return seen


def copy(role):
    base = sqlite3.connect(":memory:")
    base.execute("PRAGMA case_sensitive_like = ON")
    base.execute("CREATE TABLE T (who TEXT, name TEXT, zip TEXT, ward TEXT, weight REAL, visits INTEGER)")
    for row in filter(None, (shown(row, role) for row in told["rows"])):
        base.execute("INSERT INTO T VALUES (?, ?, ?, ?, ?, ?)", [row[column] for column in COLUMNS])
    return lambda sql: base.execute(sql).fetchall()


def http(path, body, token):
    request = urllib.request.Request(f"http://127.0.0.1:{told['http']}{path}", json.dumps(body).encode(),
                                     {"content-type": "application/json", "authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def surfaces(role):
    token = told["tokens"][role]
    by_wire = psycopg.connect(f"host=127.0.0.1 port={told['postgres']} dbname=vitalake user={role} password={token}", autocommit=True)
    by_flight = flight.connect(f"grpc://127.0.0.1:{told['flight']}", db_kwargs={"adbc.flight.sql.authorization_header": f"Bearer {token}"}, autocommit=True)

    def extended(sql):
        return by_wire.execute(sql, prepare=True).fetchall()

    def simple(sql):
        return psycopg.ClientCursor(by_wire).execute(sql).fetchall()

    def arrow(sql):
        with by_flight.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    return {"druid": lambda sql: http("/druid/v2/sql", {"query": sql, "resultFormat": "array"}, token),
            "rest": lambda sql: [list(row.values()) for row in http("/api/v1/query", {"sql": sql}, token)],
            "postgres-extended": extended, "postgres-simple": simple, "flight": arrow}


def plain(rows):
    """Rows in one form and one order."""
    def value(one):
        try:
            return f"{float(one):.6f}"
        except (TypeError, ValueError):
            return str(one)
    return sorted([value(one) for one in row] for row in rows)


asked, different = 0, []
for role in ("analyst", "nurse"):
    meant, ways = copy(role), surfaces(role)
    questions = [shape.replace("$", column) for shape in SHAPES for column in COLUMNS]
    questions += [f"SELECT COUNT(*) FROM T WHERE {guess}" for guess in GUESSES]
    # Who sees the rows in which a division fails, is told so.
    questions = [question for question in questions if role == "analyst" or "10 /" not in question]
    for number, question in enumerate(questions):
        want = plain(meant(question))
        # Each question meets every surface, and by turns every layer.
        table = told["tables"][number % len(told["tables"])]
        for way, ask in ways.items():
            asked += 1
            try:
                got = plain(ask(question.replace("FROM T", f"FROM {table}").replace("JOIN T", f"JOIN {table}")))
            except Exception as error:
                got = f"{type(error).__name__}: {str(error)[:200]}"
            if got != want:
                different.append(f"{role} by {way}: {question} of {table}: got {str(got)[:200]}, want {str(want)[:200]}")
            for secret in SECRETS:
                if role == "analyst" and secret in str(got) and secret not in question:
                    different.append(f"{role} by {way}: {secret} came out of {question} of {table}")
    for table in told["tables"]:
        for column in ("code", "_raw"):
            for way, ask in ways.items():
                asked += 1
                try:
                    different.append(f"{role} by {way}: {column} of {table} is given: {str(ask(f'SELECT {column} FROM {table}'))[:100]}")
                except Exception as refusal:
                    if any(secret in str(refusal) for secret in SECRETS):
                        different.append(f"{role} by {way}: a refusal holds a value: {str(refusal)[:200]}")
if different:
    sys.exit(f"{len(different)} of {asked}:\n" + "\n".join(different[:12]))
print(f"{asked} questions of two roles by {len(ways)} ways over {len(told['tables'])} tables, as over a masked copy")
