"""psycopg (with libpq of its own) and ADBC where clients have names and the endpoint a certificate: what lets a client in, and
that nothing lets in another or goes in the clear."""
import json
import sys

import adbc_driver_flightsql.dbapi as flight
import psycopg

port, flight_port, given = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
base = f"host=127.0.0.1 port={port} dbname=vitalake "
verified = base + f"sslmode=verify-full sslrootcert={given['authority']} "


def name(dsn, **more):
    with psycopg.connect(dsn, connect_timeout=20, **more) as connection:
        inside = connection.execute("SELECT current_user, count(*) FROM raw.people GROUP BY 1").fetchone()
        return inside[0], connection.info


def refused(dsn, **more):
    try:
        found = name(dsn, **more)[0]
    except psycopg.OperationalError as refusal:
        assert given["password"] not in str(refusal) and given["token"] not in str(refusal), "a secret is said"
        return str(refusal)
    raise AssertionError(f"{dsn} lets {found} in")


# A password by SCRAM, bound to the certificate; a token as a password under TLS; TLS from the first byte.
for dsn in (verified + "require_auth=scram-sha-256 channel_binding=require", verified + "channel_binding=disable",
            verified + "sslnegotiation=direct", base + "sslmode=require"):
    assert name(dsn, user="ada", password=given["password"])[0] == "ada", dsn
assert name(verified, user="grafana", password=given["token"])[0] == "grafana"
assert name(verified, user="__token__", password=given["token"])[0] == "grafana"
# A certificate is a name, and only its own.
shown = verified + f"sslcert={given['machine'][0]} sslkey={given['machine'][1]} "
assert name(shown, user="machine")[0] == "machine"
assert "password" in refused(shown, user="ada") and "password" in refused(shown, user="ada", password="wrong")
assert name(shown, user="ada", password=given["password"])[0] == "ada", "a certificate of another takes nothing away"
for dsn, more in [(verified, {"user": "ada", "password": "wrong"}), (verified, {"user": "ada", "password": given["token"]}),
                  (verified, {"user": "grafana", "password": given["password"]}), (verified, {"user": "nobody", "password": given["password"]}),
                  (verified, {"user": "ada"})]:
    refused(dsn, **more)
# What TLS does not agree on is the end: nothing is sent in the clear in its place.
told = refused(base + f"sslmode=verify-full sslrootcert={given['stranger']}", user="ada", password=given["password"])
assert "certificate" in told.lower(), told
told = refused(base + "sslmode=require sslnegotiation=direct ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", user="ada", password=given["password"])

arrow = f"grpc+tls://127.0.0.1:{flight_port}"
authority = open(given["authority"]).read()
roots = {"adbc.flight.sql.client_option.tls_root_certs": authority}


def flown(**options):
    with flight.connect(arrow, db_kwargs={**roots, **options}) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM raw.people")
        return cursor.fetchone()[0]


rows = given["rows"]
assert flown(username="ada", password=given["password"]) == rows
assert flown(**{"adbc.flight.sql.authorization_header": f"Bearer {given['token']}"}) == rows
certificate, key = (open(path).read() for path in given["machine"])
own = {"adbc.flight.sql.client_option.mtls_cert_chain": certificate, "adbc.flight.sql.client_option.mtls_private_key": key}
assert flown(**own) == rows, "a certificate is a name"
for options in ({}, {"username": "ada", "password": "wrong"}, {"adbc.flight.sql.authorization_header": "Bearer wrong"},
                {**own, "adbc.flight.sql.authorization_header": "Bearer wrong"}):
    try:
        flown(**options)
    except Exception as refusal:
        assert given["password"] not in str(refusal), "a secret is said"
    else:
        raise AssertionError(f"{list(options)} lets somebody in")
print("secured: SCRAM bound to the certificate, tokens, certificates as names, direct TLS; wrong ones refused")
