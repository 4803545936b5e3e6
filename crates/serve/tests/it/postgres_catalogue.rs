//! The catalogue as clients ask it: statements that they were seen to send, each answered with what there is.

use vitalake_runtime::config::access::Access;
use vitalake_serve::postgres::PostgresLimits;

use crate::pg_client::{PgClient, texts};
use crate::postgres::Wire;
use crate::server::Server;

/// psql 15's `\d serving.tiny`, with what it makes of the answers.
#[test]
fn psql_describes_a_table() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut client = PgClient::connect(wire.address);
    let found = client.rows(
        "SELECT c.oid,\n  n.nspname,\n  c.relname\nFROM pg_catalog.pg_class c\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n\
         WHERE c.relname OPERATOR(pg_catalog.~) '^(tiny)$' COLLATE pg_catalog.default\n  AND n.nspname OPERATOR(pg_catalog.~) '^(serving)$' COLLATE pg_catalog.default\n\
         ORDER BY 2, 3;",
    );
    assert_eq!(found[0][1..], ["serving", "tiny"]);
    let oid = found[0][0].clone();
    let columns = client.rows(&format!(
        "SELECT a.attname,\n  pg_catalog.format_type(a.atttypid, a.atttypmod),\n  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true)\n   \
         FROM pg_catalog.pg_attrdef d\n   WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),\n  a.attnotnull,\n  \
         (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t\n   WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,\n  \
         a.attidentity,\n  a.attgenerated\nFROM pg_catalog.pg_attribute a\nWHERE a.attrelid = '{oid}' AND a.attnum > 0 AND NOT a.attisdropped\nORDER BY a.attnum;"
    ));
    let kinds: Vec<(&str, &str)> = columns.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(kinds[..3], [("__time", "timestamp with time zone"), ("s", "text"), ("l", "bigint")]);
    assert_eq!(kinds[7], ("arr", "bigint[]"));
    assert_eq!((columns[0][3].as_str(), columns[1][3].as_str()), ("t", "f"));
    for sql in [
        // Policies, statistics, publications, inheritance: there are none.
        "SELECT pol.polname, pol.polpermissive,\n  CASE WHEN pol.polroles = '{0}' THEN NULL ELSE pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles where oid = any (pol.polroles) order by 1),',') END,\n  \
         pg_catalog.pg_get_expr(pol.polqual, pol.polrelid),\n  CASE pol.polcmd\n    WHEN 'r' THEN 'SELECT'\n    WHEN 'a' THEN 'INSERT'\n    END AS cmd\nFROM pg_catalog.pg_policy pol\nWHERE pol.polrelid = '1' ORDER BY 1;",
        "SELECT oid, stxrelid::pg_catalog.regclass, stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, stxname,\n\
         pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns,\n  'd' = any(stxkind) AS ndist_enabled, stxstattarget\nFROM pg_catalog.pg_statistic_ext\nWHERE stxrelid = '1'\nORDER BY nsp, stxname;",
        "SELECT pubname\n     , NULL\n     , NULL\nFROM pg_catalog.pg_publication p\n     JOIN pg_catalog.pg_publication_namespace pn ON p.oid = pn.pnpubid\n     JOIN pg_catalog.pg_class pc ON pc.relnamespace = pn.pnnspid\n\
         WHERE pc.oid ='1' and pg_catalog.pg_relation_is_publishable('1')\nUNION\nSELECT pubname\n     , pg_get_expr(pr.prqual, c.oid)\n     , (CASE WHEN pr.prattrs IS NOT NULL THEN\n         (SELECT string_agg(attname, ', ')\n           FROM pg_catalog.generate_series(0, pg_catalog.array_upper(pr.prattrs::pg_catalog.int2[], 1)) s,\n                pg_catalog.pg_attribute\n          WHERE attrelid = pr.prrelid AND attnum = prattrs[s])\n        ELSE NULL END) FROM pg_catalog.pg_publication p\n     JOIN pg_catalog.pg_publication_rel pr ON p.oid = pr.prpubid\n     JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid\nWHERE pr.prrelid = '1'\nORDER BY 1;",
        "SELECT c.oid::pg_catalog.regclass\nFROM pg_catalog.pg_class c, pg_catalog.pg_inherits i\nWHERE c.oid = i.inhparent AND i.inhrelid = '1'\n  AND c.relkind != 'p' AND c.relkind != 'I'\nORDER BY inhseqno;",
    ] {
        assert_eq!(client.rows(sql), Vec::<Vec<String>>::new(), "{sql}");
    }
}

#[test]
fn lists_of_schemas_tables_and_databases_are_what_there_is() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut client = PgClient::connect(wire.address);
    let tables = client.rows(
        "SELECT n.nspname as \"Schema\",\n  c.relname as \"Name\",\n  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END as \"Type\",\n  \
         pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\"\nFROM pg_catalog.pg_class c\n     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace\n     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam\n\
         WHERE c.relkind IN ('r','p','')\n      AND n.nspname <> 'pg_catalog'\n      AND n.nspname !~ '^pg_toast'\n      AND n.nspname <> 'information_schema'\n  AND pg_catalog.pg_table_is_visible(c.oid)\nORDER BY 1,2;",
    );
    assert_eq!(tables, [["serving", "tiny", "table", "somebody"], ["serving", "vitals", "table", "somebody"]]);
    let schemas = client.rows(
        "SELECT n.nspname AS \"Name\",\n  pg_catalog.pg_get_userbyid(n.nspowner) AS \"Owner\"\nFROM pg_catalog.pg_namespace n\n\
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'\nORDER BY 1;",
    );
    let names: Vec<&str> = schemas.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["curated", "ops", "quarantine", "raw", "serving"]);
    let databases = client.rows(
        "SELECT d.datname as \"Name\",\n       pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\",\n       pg_catalog.pg_encoding_to_char(d.encoding) as \"Encoding\",\n       \
         CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' END AS \"Locale Provider\",\n       pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\"\nFROM pg_catalog.pg_database d\nORDER BY 1;",
    );
    assert_eq!(databases[0][..4], ["vitalake", "somebody", "UTF8", "libc"]);
    assert_eq!(client.rows("SHOW server_version_num"), [["150000"]]);
    assert_eq!(
        client.rows("SELECT 'serving.tiny'::regclass::oid::regclass, 'raw.numbers'::regclass::oid::regclass"),
        [["tiny", "raw.numbers"]]
    );
    client.rows("SET search_path TO raw");
    assert_eq!(client.rows("SELECT count(*) FROM numbers"), [["2000000"]]);
    assert_eq!(client.refused("SELECT count(*) FROM tiny"), "42P01");
}

/// A column's name, its values, and what was asked.
type Asked = (&'static str, &'static [&'static str], &'static str);

/// What drivers and dashboard tools were seen to ask, in short: each form was more than the planner takes as it is.
const FORMS: &[Asked] = &[
    ("current_schema", &["serving"], "SELECT current_schema()"),
    ("current_user", &["somebody"], "SELECT current_user"),
    ("int8", &["{1,2}"], "SELECT '{1,2}'::bigint[]"),
    (
        "oid",
        &["serving"],
        "SELECT n.oid::regnamespace::text, n.* FROM pg_catalog.pg_namespace n WHERE nspname = 'serving'",
    ),
    ("n", &["3", "4", "5"], "SELECT s.n FROM generate_series(3, 5) AS s(n) ORDER BY 1"),
    ("i", &["5", "3"], "SELECT i FROM generate_series(5, 2, -2) i ORDER BY 1 DESC"),
    (
        "nspname",
        &["serving"],
        "SELECT (current_schemas(false))[s.r] AS nspname FROM generate_series(1, array_upper(current_schemas(false), 1)) AS s(r)",
    ),
    (
        "path",
        &["serving"],
        "SELECT trim(s[i]) AS path FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1), \
         array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i, string_to_array(current_setting('search_path'), ',') s",
    ),
    (
        "word",
        &["select"],
        "SELECT word FROM pg_catalog.pg_get_keywords() WHERE word = 'select' AND word <> ALL ('{a,abs}'::text[])",
    ),
    ("format", &["serving.\"Two words\" %"], "SELECT format('%s.%I %%', 'serving', 'Two words')"),
    ("parse_ident", &["tiny"], "SELECT (parse_ident('serving.tiny'))[2] AS parse_ident"),
    ("nspname", &["pg_catalog"], "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg/_' || '%' ESCAPE '/'"),
    ("name", &["int8"], "SELECT typname AS name FROM pg_type WHERE oid = to_regtype('bigint')"),
    (
        "oid",
        &["t"],
        "SELECT CAST(CAST(format('%I.%I', 'serving', 'tiny') AS regclass) AS oid) = 'serving.tiny'::regclass::oid AS oid",
    ),
    ("xmin", &["0"], "SELECT n.xmin FROM pg_namespace n WHERE n.nspname = 'serving'"),
    (
        "value",
        &["UTC"],
        "SELECT pg_catalog.current_setting(s.name) AS value FROM pg_catalog.pg_settings s WHERE s.name = 'timezone'",
    ),
    ("TimeZone", &["UTC"], "SHOW timezone"),
    (
        "name",
        &["_int8", "int8"],
        "WITH RECURSIVE tree(oid, name, item, base, depth) AS (SELECT t.oid, t.typname, t.typelem, CASE WHEN t.typtype = 'd' THEN \
         (WITH RECURSIVE b(oid) AS (SELECT t2.typbasetype FROM pg_type t2 WHERE t2.oid = t.oid UNION ALL SELECT t2.typbasetype FROM pg_type t2, b \
         WHERE b.oid = t2.oid) SELECT oid FROM b) END, 0 FROM pg_type t WHERE t.oid = ANY('{1016}'::oid[]) UNION ALL \
         SELECT t.oid, t.typname, t.typelem, NULL, tree.depth + 1 FROM pg_type t, tree WHERE t.oid = tree.item) \
         SELECT DISTINCT name, base::regtype::text AS base_name, depth FROM tree ORDER BY depth",
    ),
];

#[test]
fn forms_that_drivers_and_tools_send_are_answered_under_postgresqls_names() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut client = PgClient::connect(wire.address);
    for (name, values, sql) in FORMS {
        let replies = client.simple(sql);
        if let Some(error) = replies.iter().find(|reply| reply.0 == b'E') {
            panic!("{sql}: {} {}", error.field(b'C'), error.field(b'M'));
        }
        let found: Vec<String> = texts(&replies).into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(found, *values, "{sql}");
        if *name != "oid" {
            assert_eq!(replies[0].columns()[0].0, *name, "{sql}");
        }
    }
    for (sql, code) in [
        ("SELECT * FROM generate_series(1, 1000000000)", "0A000"),
        ("SELECT * FROM generate_series(1, 5, 0)", "0A000"),
        ("SELECT tiny.l, s.n FROM tiny, generate_series(1, tiny.l) AS s(n)", "0A000"),
        ("SELECT SELECT", "42601"),
        ("WITH RECURSIVE r AS (SELECT l FROM tiny UNION ALL SELECT l FROM tiny, r) SELECT * FROM r", "0A000"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r, pg_type", "0A000"),
        ("SELECT xmin FROM tiny", "42703"),
    ] {
        assert_eq!(client.refused(sql), code, "{sql}");
    }
}

#[test]
fn a_cursor_that_was_declared_is_described_as_a_portal_and_an_error_is_sent_before_the_round_ends() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut client = PgClient::connect(wire.address);
    client.rows("BEGIN");
    client.rows("DECLARE \"some rows\" CURSOR FOR SELECT l, s FROM tiny");
    client.describe(b'P', "some rows");
    let (replies, _) = client.sync();
    assert_eq!(replies[0].columns(), [("l".to_owned(), 20), ("s".to_owned(), 25)]);
    client.rows("COMMIT");
    client.parse("", "SELECT nosuch FROM tiny", &[]);
    client.describe(b'S', "");
    // No `Sync` yet, and no `Flush`.
    let refused = std::iter::from_fn(|| client.read()).find(|reply| reply.0 == b'E').unwrap();
    assert_eq!(refused.field(b'C'), "42703");
    assert_eq!(client.sync().1, b'I');
}
