//! Every address under `/api/v1`, `/ingest`, `/feeds` and `/health`: the one table that the OpenAPI document is made of.
//!
//! A test holds it against the router's own routes. Invariant: what is answered at these addresses is in this table.

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// Whether a client has to say who it is, where clients are listed.
    pub(super) is_open: bool,
    /// What its address, query and headers may say.
    pub(super) parameters: &'static [Parameter],
    /// What is sent.
    pub(super) body: Option<Body>,
    /// What is answered where all is well.
    pub(super) answer: Answer,
    /// The statuses of its refusals, beside those that any address has.
    pub(super) refusals: &'static [u16],
}

/// Something that a request says beside its body.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `path`, `query` or `header`.
    pub(super) place: &'static str,
    pub(super) about: &'static str,
    /// Its JSON Schema.
    pub(super) schema: &'static str,
}

/// A body that is sent.
pub(super) struct Body {
    pub(super) required: bool,
    /// Media types, each with its JSON Schema.
    pub(super) forms: &'static [(&'static str, &'static str)],
}

/// What is answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) forms: &'static [(&'static str, &'static str)],
}

const TEXT: &str = r#"{"type":"string"}"#;
const NAME: &str = r#"{"type":"string","minLength":1}"#;
const NUMBER: &str = r#"{"type":"integer","minimum":0}"#;
const TRUTH: &str = r#"{"enum":["true","false"]}"#;
const MOMENT: &str = r#"{"type":"string","format":"date-time"}"#;
const ANY: &str = r#"{"type":"object"}"#;
const LIST: &str = r#"{"type":"array","items":{"type":"object"}}"#;
const BYTES: &str = r#"{"type":"string","format":"binary"}"#;

const fn of(name: &'static str, place: &'static str, about: &'static str, schema: &'static str) -> Parameter {
    Parameter { name, place, about, schema }
}

const DATASET: Parameter = of("dataset", "path", "the dataset, with its layer or without", NAME);
const RULE: Parameter = of("rule", "query", "of one rule", TEXT);
const SINCE: Parameter = of("since", "query", "not before this moment", TEXT);
const UNTIL: Parameter = of("until", "query", "before this moment", TEXT);
const DELIVERY: Parameter = of("delivery", "query", "of one delivery", r#"{"type":"integer"}"#);
const LIMIT: Parameter = of("limit", "query", "at most so many", NUMBER);

const fn json(schema: &'static [(&'static str, &'static str)]) -> Answer {
    Answer { status: 200, forms: schema }
}

const OBJECT: Answer = json(&[("application/json", ANY)]);
const OBJECTS: Answer = json(&[("application/json", LIST)]);

const DECISION: Option<Body> = Some(Body {
    required: true,
    forms: &[(
        "application/json",
        r#"{"type":"object","required":["reason"],"properties":{"reason":{"type":"string"},"by":{"type":"string"}}}"#,
    )],
});
/// What requests of a browser that has logged in say, where they change something.
const SCRIPT: Parameter = of("X-Requested-With", "header", "`vitalake`", r#"{"const":"vitalake"}"#);

const PROOF: Body = Body {
    required: true,
    forms: &[(
        "application/json",
        r#"{"oneOf":[{"type":"object","required":["token"],"additionalProperties":false,"properties":{"token":{"type":"string"}}},
            {"type":"object","required":["name","password"],"additionalProperties":false,"properties":{"name":{"type":"string"},"password":{"type":"string"}}}]}"#,
    )],
};

const MAYBE: Option<Body> = Some(Body { required: false, forms: &[("application/json", ANY)] });

const RECORDS: Body = Body {
    required: true,
    forms: &[
        (
            "application/json",
            r#"{"oneOf":[{"type":"object"},{"type":"array","items":{"type":"object"},"minItems":1}]}"#,
        ),
        ("application/x-ndjson", TEXT),
    ],
};

const QUERY: Body = Body {
    required: true,
    forms: &[(
        "application/json",
        r##"{"type":"object","required":["sql"],"additionalProperties":false,"properties":{
            "sql":{"type":"string"},
            "parameters":{"type":"array","items":{}},
            "format":{"enum":["json","ndjson","csv","arrow","parquet"]},
            "limit":{"type":"integer","minimum":0},
            "timeout_ms":{"type":"integer","minimum":0},
            "query_id":{"type":"string","minLength":1,"maxLength":128},
            "purpose":{"type":"string","minLength":1,"maxLength":128}}}"##,
    )],
};

const ROWS: Answer = json(&[
    ("application/json", r#"{"type":"array","items":{"type":"object"}}"#),
    ("application/x-ndjson", TEXT),
    ("text/csv", TEXT),
    ("application/vnd.apache.arrow.stream", BYTES),
    ("application/vnd.apache.parquet", BYTES),
]);

const TAKEN: Answer = Answer {
    status: 202,
    forms: &[(
        "application/json",
        r#"{"type":"object","required":["dataset","request","accepted","rejected_count","rejected","quarantine"],"properties":{
            "dataset":{"type":"string"},"request":{"type":"string"},"accepted":{"type":"integer"},
            "rejected_count":{"type":"integer"},"quarantine":{"type":"string"},
            "rejected":{"type":"array","items":{"type":"object","required":["index","line","byte","reason"]}}}}"#,
    )],
};

const TABLE: Answer = json(&[(
    "application/json",
    r#"{"type":"object","required":["table","columns"],"properties":{"table":{"type":"string"},"columns":{"type":"array","items":
        {"type":"object","required":["name","type","nullable"]}}}}"#,
)]);

/// An operation that is asked by its address alone.
const fn get(path: &'static str, summary: &'static str, parameters: &'static [Parameter], answer: Answer) -> Operation {
    let refusals = &[400, 404, 503];
    Operation { method: "get", path, summary, is_open: false, parameters, body: None, answer, refusals }
}

/// An operation that does something.
const fn post(
    path: &'static str,
    summary: &'static str,
    parameters: &'static [Parameter],
    body: Option<Body>,
    answer: Answer,
) -> Operation {
    let refusals = &[400, 404, 409, 413, 415, 503];
    Operation { method: "post", path, summary, is_open: false, parameters, body, answer, refusals }
}

/// All of them.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation { is_open: true, ..get("/health/live", "Whether the process lives", &[], OBJECT) },
    Operation {
        is_open: true,
        ..get("/health/ready", "Whether queries are answered, and what is not well", &[], OBJECT)
    },
    get("/api/v1/openapi.json", "This document", &[], OBJECT),
    get("/api/v1/session", "Who one is, and what one may do", &[], OBJECT),
    Operation {
        is_open: true,
        refusals: &[400, 401, 403, 429, 503],
        ..post("/api/v1/session", "Logs a browser in: the answer sets a cookie", &[SCRIPT], Some(PROOF), OBJECT)
    },
    Operation {
        method: "delete",
        is_open: true,
        refusals: &[403],
        ..get("/api/v1/session", "Ends a browser's log-in", &[SCRIPT], Answer { status: 204, forms: &[] })
    },
    Operation {
        is_open: true,
        refusals: &[400, 401, 503],
        ..get(
            "/api/v1/login",
            "Leads a browser to an issuer, to log in there",
            &[
                of("next", "query", "the page that it is to see then", TEXT),
                of("issuer", "query", "which of several issuers", TEXT),
            ],
            Answer { status: 303, forms: &[] },
        )
    },
    Operation {
        is_open: true,
        refusals: &[400],
        ..get(
            "/api/v1/login/callback",
            "Where an issuer leads a browser back to",
            &[
                of("state", "query", "what it was sent with", TEXT),
                of("code", "query", "what is exchanged for its user's name", TEXT),
                of("error", "query", "why there is none", TEXT),
            ],
            Answer { status: 303, forms: &[] },
        )
    },
    get("/api/v1/today", "How everything is now, as far as the client sees it", &[], OBJECT),
    get("/api/v1/catalogue", "The datasets that the client sees", &[], OBJECTS),
    get("/api/v1/catalogue/{dataset}", "A dataset's contract in words, and how its table is", &[DATASET], OBJECT),
    get("/api/v1/lineage", "Which dataset is made of which", &[], OBJECT),
    get("/api/v1/lineage/{dataset}", "What a dataset's columns are made of", &[DATASET], OBJECT),
    get("/api/v1/dashboards", "The dashboards", &[], OBJECTS),
    get(
        "/api/v1/dashboards/{name}",
        "A dashboard, with the query of each chart; `where.DIMENSION` chooses values",
        &[
            of("name", "path", "the dashboard", NAME),
            of("from", "query", "from when on", MOMENT),
            of("to", "query", "before when", MOMENT),
        ],
        OBJECT,
    ),
    get(
        "/api/v1/events",
        "Which datasets change, as server-sent events; the answer ends after 40 seconds",
        &[],
        json(&[("text/event-stream", TEXT)]),
    ),
    get("/api/v1/status", "State of every dataset and partition", &[], OBJECT),
    get("/api/v1/datasets", "State of every dataset", &[], OBJECTS),
    get(
        "/api/v1/books",
        "How many records were offered to datasets, and what became of them",
        &[of("dataset", "query", "one dataset alone", TEXT)],
        OBJECTS,
    ),
    post("/api/v1/flush", "Commits what waits in memory", &[], None, OBJECT),
    Operation {
        refusals: &[400, 406, 408, 409, 413, 415, 422, 429, 503, 504],
        ..post(
            "/api/v1/query",
            "Answers a query in SQL",
            &[of("X-Purpose", "header", "what the query is for", r#"{"type":"string","minLength":1,"maxLength":128}"#)],
            Some(QUERY),
            ROWS,
        )
    },
    Operation {
        method: "delete",
        ..get(
            "/api/v1/query/{id}",
            "Ends a query of one's own",
            &[of("id", "path", "its id", NAME)],
            Answer { status: 204, forms: &[] },
        )
    },
    get(
        "/api/v1/tables/{table}",
        "The columns of a table, as the client sees it",
        &[of("table", "path", "LAYER.DATASET", NAME)],
        TABLE,
    ),
    Operation {
        refusals: &[400, 404, 408, 409, 413, 415, 422, 429, 503],
        ..post(
            "/ingest/{dataset}",
            "Takes records for a stream; answered when they are durable",
            &[
                DATASET,
                of(
                    "Idempotency-Key",
                    "header",
                    "the request is taken once, however often it is sent",
                    r#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#,
                ),
                of(
                    "X-Partition-Key",
                    "header",
                    "a key for all of its records",
                    r#"{"type":"string","minLength":1,"maxLength":255,"pattern":"^[!-~]+$"}"#,
                ),
                of("Content-Encoding", "header", "how the body is packed", r#"{"enum":["identity","gzip","zstd"]}"#),
            ],
            Some(RECORDS),
            TAKEN,
        )
    },
    get(
        "/api/v1/deliveries",
        "The ledger of deliveries",
        &[of("of", "query", "a dataset or a feed", TEXT), of("state", "query", "where deliveries stand", TEXT), LIMIT],
        OBJECTS,
    ),
    Operation {
        refusals: &[400, 404, 408, 409, 411, 413, 415, 503],
        ..post(
            "/api/v1/deliveries/{dataset}",
            "Takes a delivered file, whole or not at all",
            &[
                DATASET,
                of("name", "query", "the file's name; its ending says the format", TEXT),
                of("format", "query", "csv, json, parquet, arrow or zip", TEXT),
                of("business_date", "query", "the day that the file stands for", TEXT),
                of("hold", "query", "whether it is held where it would be refused", TRUTH),
            ],
            Some(Body { required: true, forms: &[("application/octet-stream", BYTES)] }),
            OBJECT,
        )
    },
    post(
        "/api/v1/deliveries/{dataset}/release",
        "Lets a held delivery in; the path holds its id",
        &[of("dataset", "path", "the delivery's id", NAME)],
        DECISION,
        OBJECT,
    ),
    post(
        "/api/v1/deliveries/{dataset}/reject",
        "Gives a held delivery up; the path holds its id",
        &[of("dataset", "path", "the delivery's id", NAME)],
        DECISION,
        OBJECT,
    ),
    get("/api/v1/feeds", "Where each feed stands", &[], OBJECTS),
    post(
        "/api/v1/feeds/{name}/run",
        "Looks for deliveries of a feed now",
        &[of("name", "path", "the feed", NAME)],
        None,
        OBJECT,
    ),
    post("/feeds/{name}/run", "The same", &[of("name", "path", "the feed", NAME)], None, OBJECT),
    get("/api/v1/gates", "What gates hold back", &[], OBJECTS),
    get("/api/v1/gates/{dataset}", "One gate", &[DATASET], OBJECT),
    post("/api/v1/gates/{dataset}/hold", "Holds a dataset back", &[DATASET], DECISION, OBJECT),
    post(
        "/api/v1/gates/{dataset}/release",
        "Ends a hold, or publishes in spite of the rules, once",
        &[DATASET],
        DECISION,
        OBJECT,
    ),
    get(
        "/api/v1/quarantine",
        "Rejects, counted",
        &[of("dataset", "query", "one dataset alone", TEXT), RULE, SINCE, UNTIL, DELIVERY],
        OBJECTS,
    ),
    get(
        "/api/v1/quarantine/{dataset}",
        "Rejects of a dataset",
        &[
            DATASET,
            RULE,
            SINCE,
            UNTIL,
            DELIVERY,
            of("raw", "query", "with the records as they came, for who may see them", TRUTH),
            LIMIT,
        ],
        OBJECTS,
    ),
    post("/api/v1/quarantine/{dataset}/replay", "Puts rejects through again", &[DATASET], MAYBE, OBJECT),
    get("/api/v1/quarantine/{dataset}/replay", "How far a replay is", &[DATASET], OBJECT),
    post("/api/v1/quarantine/{dataset}/discard", "Gives rejects up", &[DATASET], MAYBE, OBJECT),
    get("/api/v1/alerts", "Alerts, open ones first", &[], OBJECTS),
    post(
        "/api/v1/alerts/{name}/ack",
        "Takes an alert on; the path holds its fingerprint",
        &[of("name", "path", "its fingerprint", NAME)],
        Some(Body { required: true, forms: &[("application/json", ANY)] }),
        OBJECT,
    ),
    post(
        "/api/v1/alerts/{name}/test",
        "Tries an alert's receivers",
        &[of("name", "path", "the alert", NAME)],
        None,
        OBJECTS,
    ),
    post(
        "/api/v1/silences",
        "Keeps an alert from being sent for a while",
        &[],
        Some(Body { required: true, forms: &[("application/json", ANY)] }),
        OBJECT,
    ),
    get(
        "/api/v1/audit",
        "What was done lately, newest first",
        &[
            of("who", "query", "of one client", TEXT),
            of("dataset", "query", "on one dataset", TEXT),
            of("action", "query", "of one kind", TEXT),
            of("outcome", "query", "with one outcome", TEXT),
            of("since", "query", "not before", TEXT),
            LIMIT,
        ],
        Answer { status: 200, forms: &[("application/json", "true")] },
    ),
    post(
        "/api/v1/audit/disclosures",
        "Who saw a person; the id comes in the body",
        &[],
        Some(Body { required: true, forms: &[("application/json", ANY)] }),
        Answer { status: 200, forms: &[("application/json", "true")] },
    ),
    post(
        "/api/v1/erase",
        "Erases a person, or says what would go",
        &[],
        Some(Body { required: true, forms: &[("application/json", ANY)] }),
        OBJECT,
    ),
    get("/api/v1/runbooks", "Runbooks", &[of("owner", "query", "whose come first", TEXT)], OBJECTS),
    get(
        "/api/v1/runbooks/{name}",
        "A runbook with its evidence",
        &[
            of("name", "path", "the runbook", NAME),
            of("alert", "query", "the alert that it is opened for", TEXT),
            of("as", "query", "`html`: its text as HTML in `sections`, in place of Markdown in `parts`", TEXT),
        ],
        OBJECT,
    ),
    get("/api/v1/druid", "Where each dataset stands in Druid", &[], OBJECTS),
    get("/api/v1/druid/{dataset}/plan", "What would be sent to Druid", &[DATASET], OBJECT),
    post("/api/v1/druid/{dataset}/adopt", "Takes a datasource of Druid over", &[DATASET], None, OBJECT),
    post("/api/v1/druid/{dataset}/kill", "Removes what is out of use from Druid", &[DATASET], None, OBJECT),
    Operation {
        is_open: true,
        refusals: &[400, 404, 416, 503],
        ..get(
            "/api/v1/published/{dataset}/{version}/{file}",
            "A file of a published version, for who has a signature",
            &[
                DATASET,
                of("version", "path", "the version", NAME),
                of("file", "path", "the file", NAME),
                of("sig", "query", "the signature", TEXT),
            ],
            json(&[("application/vnd.apache.parquet", BYTES)]),
        )
    },
];
