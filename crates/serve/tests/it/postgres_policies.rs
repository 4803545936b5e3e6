//! What a client sees through a policy by PostgreSQL's protocol: every shape of query, in every form of the protocol,
//! answers over a guarded table as over a copy that was masked and filtered by hand, errors and all.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use vitalake_runtime::config::access::{Access, Client, Scope, Token};
use vitalake_runtime::cpu::Cpu;
use vitalake_serve::postgres::PostgresLimits;

use crate::pg_client::{PgClient, Reply};
use crate::policies::{GUESSES, SECRETS, both};
use crate::postgres::Wire;

/// Shapes over `$`, one of the columns, where what is asked of it can tell of its values.
const SHAPES: [&str; 35] = [
    "SELECT $ FROM curated.people",
    "SELECT $ FROM curated.people ORDER BY $ NULLS FIRST, seen LIMIT 2",
    "SELECT $, seen FROM curated.people ORDER BY $ DESC, seen DESC LIMIT 3",
    "SELECT count(*) FROM curated.people WHERE $ IS NULL",
    "SELECT count(*) FROM curated.people WHERE $ IS NOT NULL OR visits > 100",
    "SELECT count($), count(DISTINCT $) FROM curated.people",
    "SELECT min($), max($) FROM curated.people",
    "SELECT $, count(*) FROM curated.people GROUP BY $ ORDER BY 1",
    "SELECT $ FROM curated.people GROUP BY $ HAVING count(*) > 1",
    "SELECT DISTINCT $ FROM curated.people ORDER BY 1",
    "SELECT DISTINCT ON ($) seen FROM curated.people ORDER BY $, seen",
    "SELECT a.seen FROM curated.people a JOIN curated.people b ON a.$ = b.$ WHERE a.seen <> b.seen ORDER BY 1",
    "SELECT seen FROM curated.people WHERE $ IN (SELECT $ FROM curated.people WHERE visits > 1) ORDER BY 1",
    "SELECT seen FROM curated.people WHERE $ = ANY(SELECT $ FROM curated.people WHERE visits > 1) ORDER BY 1",
    "SELECT seen FROM curated.people p WHERE EXISTS (SELECT 1 FROM curated.people q WHERE q.$ = p.$ AND q.seen > p.seen)",
    "SELECT seen, row_number() OVER (PARTITION BY $ ORDER BY seen) FROM curated.people ORDER BY 1",
    "SELECT seen, rank() OVER (ORDER BY $ NULLS LAST) FROM curated.people ORDER BY 1",
    "SELECT seen, lag($) OVER (ORDER BY seen) FROM curated.people ORDER BY 1",
    "SELECT CASE WHEN $ IS NULL THEN 'none' ELSE $::text END FROM curated.people ORDER BY 1",
    "SELECT coalesce($::text, 'none') || '!' FROM curated.people ORDER BY 1",
    "SELECT $::text::bigint FROM curated.people",
    "SELECT seen FROM curated.people WHERE $::text::bigint > 0",
    "SELECT seen FROM curated.people WHERE 10 / visits > 0 AND $ IS NOT NULL ORDER BY 1",
    "SELECT sum(10 / visits) FROM curated.people WHERE $ IS NOT NULL",
    "SELECT $ FROM curated.people UNION ALL SELECT $ FROM curated.people ORDER BY 1",
    "WITH c AS (SELECT $ AS v, visits FROM curated.people) SELECT v, sum(visits) FROM c GROUP BY v ORDER BY 1",
    "SELECT (SELECT max($) FROM curated.people)",
    "SELECT date_trunc('hour', seen), $ FROM curated.people WHERE seen >= '1970-01-01 02:00:00' ORDER BY 1",
    "SELECT ward, max($) FROM curated.people WHERE ward = 'north' GROUP BY ward",
    "SELECT count(*) FROM curated.people WHERE $::text LIKE '%0%'",
    "SELECT count(*) FROM curated.people WHERE $::text ~ '^[0-9Z]'",
    "SELECT string_agg($::text, ',' ORDER BY seen) FROM curated.people",
    "SELECT count(*) FILTER (WHERE $ IS NOT NULL) FROM curated.people",
    "SELECT md5($::text) FROM curated.people ORDER BY 1",
    "SELECT 10 / (visits - visits), $ FROM curated.people",
];

const COLUMNS: [&str; 9] = ["name", "zip", "born", "weight", "ward", "consent", "visits", "seen", "*"];

fn plain(replies: Vec<Reply>) -> Vec<(u8, Vec<u8>)> {
    // What a statement did is the same; where in the text an error stands is the client's own.
    replies.into_iter().map(|Reply(kind, body)| (kind, body)).collect()
}

/// Everything that a client is told in answer to a statement, in each form of the protocol.
fn told(client: &mut PgClient, sql: &str) -> Vec<Vec<(u8, Vec<u8>)>> {
    let simple = plain(client.simple(sql));
    client.parse("", sql, &[]);
    client.describe(b'S', "");
    client.bind("", "", &[], 1);
    client.execute("", 0);
    let extended = plain(client.sync().0);
    let mut cursor = plain(client.simple(&format!("DECLARE c CURSOR WITH HOLD FOR {sql}")));
    if cursor.iter().all(|(kind, _)| *kind != b'E') {
        cursor.extend(plain(client.simple("FETCH 1 FROM c; FETCH ALL FROM c")));
        client.simple("CLOSE ALL");
    }
    vec![simple, extended, cursor]
}

fn access() -> Access {
    let mut access = Access::default();
    for role in ["analyst", "steward", "outsider"] {
        let token = Token { sha256: Sha256::digest(role).into(), expires: None, scope: Scope::default() };
        access.clients.insert(
            role.to_owned(),
            Client { roles: [role.to_owned()].into(), tokens: vec![token], ..Client::default() },
        );
    }
    access
}

#[test]
fn every_shape_in_every_form_answers_as_over_a_copy_that_is_masked_and_filtered() {
    let cpu = Cpu::with_workers(2).unwrap();
    // The endpoints have runtimes of their own, beside that of the tables.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let both = runtime.block_on(both(&cpu));
    let guarded = Wire::over(&both.guarded, &access(), PostgresLimits::default());
    let copied = Wire::over(&both.copied, &Access::default(), PostgresLimits::default());
    {
        let mut guarded = PgClient::try_connect(guarded.address, "analyst", Some("analyst")).unwrap();
        let mut copied = PgClient::try_connect(copied.address, "analyst", None).unwrap();
        let shapes = COLUMNS.iter().flat_map(|column| {
            let shapes = SHAPES.iter().filter(|shape| *column != "*" || **shape == SHAPES[0]);
            shapes.map(|shape| shape.replace('$', column))
        });
        let guesses = GUESSES.iter().flat_map(|guess| {
            [
                format!("SELECT count(*) FROM curated.people WHERE {guess}"),
                format!("SELECT seen FROM curated.people WHERE NOT ({guess}) ORDER BY 1"),
            ]
        });
        let (mut different, mut failed, mut asked) = (Vec::new(), BTreeSet::new(), 0);
        for sql in shapes.chain(guesses) {
            let (shown, meant) = (told(&mut guarded, &sql), told(&mut copied, &sql));
            asked += 1;
            failed.extend(meant.iter().flatten().filter(|(kind, _)| *kind == b'E').map(|(_, body)| body.clone()));
            for (_, body) in shown.iter().flatten() {
                let text = String::from_utf8_lossy(body);
                for secret in SECRETS.iter().filter(|secret| text.contains(**secret)) {
                    assert!(sql.contains(secret), "{secret} came out of {sql}: {text}");
                }
            }
            if shown != meant && sql.contains("ORDER BY") {
                different.push(sql.clone());
            } else if sorted(shown) != sorted(meant) {
                different.push(sql);
            }
        }
        assert!(different.is_empty(), "{} of {asked} differ:\n{}", different.len(), different.join("\n"));
        assert!(asked > 300, "{asked}");
        // Some shapes do fail on values, or the errors would be compared with nothing.
        assert!(failed.len() > 1, "{failed:?}");
    }
}

/// Rows without an order are compared in one of their own; which of them a portion holds is nobody's promise.
fn sorted(told: Vec<Vec<(u8, Vec<u8>)>>) -> Vec<Vec<(u8, Vec<u8>)>> {
    let sort = |mut replies: Vec<(u8, Vec<u8>)>| {
        replies.sort();
        replies
    };
    told.into_iter().map(sort).collect()
}

#[test]
fn what_a_client_may_not_see_is_in_no_catalogue_and_no_error_tells_of_it() {
    let cpu = Cpu::with_workers(2).unwrap();
    // The endpoints have runtimes of their own, beside that of the tables.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let both = runtime.block_on(both(&cpu));
    let wire = Wire::over(&both.guarded, &access(), PostgresLimits::default());
    {
        let connect = |name: &str| PgClient::try_connect(wire.address, name, Some(name)).unwrap();
        let mut analyst = connect("analyst");
        for sql in [
            "SELECT id FROM curated.people",
            "SELECT count(*) FROM curated.people WHERE id = 'x'",
            "SELECT 1 FROM curated.people ORDER BY id",
            "EXPLAIN SELECT id FROM curated.people",
            "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM curated.people",
        ] {
            let replies = analyst.simple(sql);
            let error = replies.last().unwrap();
            assert_eq!(error.field(b'C'), "42501", "{sql}");
            assert!(error.field(b'M').contains("ask for one of the roles"), "{sql}: {}", error.field(b'M'));
        }
        let columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'curated.people'::regclass ORDER BY attnum";
        let mut shown = analyst.rows(columns).concat();
        assert!(shown.contains(&"name".to_owned()) && !shown.contains(&"id".to_owned()), "{shown:?}");
        shown = analyst.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'people'").concat();
        assert!(!shown.contains(&"id".to_owned()), "{shown:?}");

        let mut outsider = connect("outsider");
        assert_eq!(outsider.refused("SELECT count(*) FROM curated.people"), "42501");
        assert_eq!(outsider.refused("SELECT 'curated.people'::regclass"), "42P01");
        for sql in [
            "SELECT relname FROM pg_class WHERE relname LIKE 'people%'",
            "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'curated'",
            "SELECT relname FROM pg_stat_user_tables",
        ] {
            assert_eq!(outsider.rows(sql), Vec::<Vec<String>>::new(), "{sql}");
        }
        assert_eq!(connect("steward").rows("SELECT count(id) FROM curated.people"), [["8"]]);
    }
}
