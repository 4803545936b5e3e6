//! The console's side of the real server: a browser's log-in, and what two roles are told of the same project.

use serde_json::{Value, json};
use ureq::http::{Request, Response};

use crate::access::{Here, asked, deliver, plain};

/// A browser: what it holds, and whether its pages send the request.
#[derive(Default)]
struct Browser {
    cookie: Option<String>,
}

/// An answer with its headers.
struct Answer {
    status: u16,
    body: Value,
    headers: ureq::http::HeaderMap,
}

impl Browser {
    fn ask(&mut self, here: &Here, method: &str, path: &str, script: bool, body: &Value) -> Answer {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).build().new_agent();
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", here.place.http));
        if script {
            request = request.header("x-requested-with", "vitalake");
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
        let mut response: Response<ureq::Body> = agent.run(request).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        if let Some(set) = response.headers().get("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            self.cookie = Some(pair).filter(|pair| !pair.ends_with('='));
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status: response.status().as_u16(), body, headers: response.headers().clone() }
    }

    fn get(&mut self, here: &Here, path: &str) -> Answer {
        self.ask(here, "GET", path, true, &Value::Null)
    }
}

fn columns(page: &Value) -> Vec<(String, String)> {
    let of =
        |column: &Value| (column["name"].as_str().unwrap().to_owned(), column["seen_as"].as_str().unwrap().to_owned());
    page["schema"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_browser_logs_in_with_a_token_and_changes_nothing_for_pages_of_others() {
    let here = plain();
    let server = here.place.start().ready();
    let mut browser = Browser::default();
    let nobody = browser.get(&here, "/api/v1/session");
    assert_eq!((nobody.status, &nobody.body["log_in"]), (401, &json!("token")), "{}", nobody.body);
    let challenges: Vec<_> = nobody.headers.get_all("www-authenticate").iter().collect();
    assert!(challenges.iter().all(|said| !said.to_str().unwrap().contains("Basic")), "{challenges:?}");

    let proof = json!({"token": here.ann});
    assert_eq!(browser.ask(&here, "POST", "/api/v1/session", false, &proof).status, 403, "no page of ours");
    assert_eq!(browser.ask(&here, "POST", "/api/v1/session", true, &json!({"token": "vl_guess"})).status, 401);
    assert_eq!(browser.ask(&here, "POST", "/api/v1/session", true, &json!({"to": 1})).status, 400);
    let entered = browser.ask(&here, "POST", "/api/v1/session", true, &proof);
    assert_eq!((entered.status, &entered.body["name"]), (200, &json!("ann")), "{}", entered.body);
    let cookie = entered.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&here.ann), "the token itself is not kept in the browser");

    let session = browser.get(&here, "/api/v1/session");
    assert_eq!((&session.body["name"], &session.body["may"]["operate"]), (&json!("ann"), &json!(false)));
    let question = json!({"sql": "SELECT COUNT(*) AS n FROM raw.people"});
    assert_eq!(browser.ask(&here, "POST", "/api/v1/query", false, &question).status, 403);
    let answer = browser.ask(&here, "POST", "/api/v1/query", true, &question);
    assert_eq!((answer.status, answer.body), (200, json!([{"n": 0}])));
    // The cookie is for the console's own addresses alone.
    assert_eq!(browser.ask(&here, "POST", "/druid/v2/sql", true, &json!({"query": "SELECT 1"})).status, 401);
    assert_eq!(browser.get(&here, "/metrics").status, 401);

    let held = browser.cookie.clone();
    assert_eq!(browser.ask(&here, "DELETE", "/api/v1/session", false, &Value::Null).status, 403);
    assert_eq!(browser.ask(&here, "DELETE", "/api/v1/session", true, &Value::Null).status, 204);
    assert!(browser.cookie.is_none());
    browser.cookie = held;
    assert_eq!(browser.get(&here, "/api/v1/session").status, 401, "who has left is out, whatever his browser kept");

    assert_eq!(browser.ask(&here, "POST", "/api/v1/session", true, &proof).status, 200);
    server.stop();
    let _server = here.place.start().ready();
    let restarted = browser.get(&here, "/api/v1/session");
    assert_eq!(
        (restarted.status, &restarted.body["log_in"]),
        (401, &json!("token")),
        "a restart ends log-ins, and says so"
    );
    assert!(!here.place.said().contains(&here.ann));
}

#[test]
fn each_role_is_told_of_the_columns_that_it_can_name_and_of_no_others() {
    let here = plain();
    let _server = here.place.start().ready();
    deliver(&here);
    let of = |token: &str, path: &str| {
        let (status, answer) = asked(&here, Some(token), "GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    };
    let names = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, seen)| ((*name).to_owned(), (*seen).to_owned())).collect()
    };
    let whole = of(&here.sam, "/api/v1/catalogue/raw.people");
    let all = names(&[("who", "clear"), ("zip", "clear"), ("ward", "clear"), ("code", "clear")]);
    assert_eq!(columns(&whole), all);
    let cut = of(&here.ann, "/api/v1/catalogue/people");
    assert_eq!(columns(&cut), names(&[("who", "masked"), ("zip", "masked"), ("ward", "clear")]));
    let stays = of(&here.sam, "/api/v1/catalogue/stays");
    assert!(stays["model"]["sql"].as_str().unwrap().contains("code"), "{stays}");
    assert_eq!(of(&here.ann, "/api/v1/catalogue/stays")["model"], Value::Null);
    let origins = of(&here.sam, "/api/v1/lineage/stays").to_string();
    assert!(origins.contains("code") && origins.contains("label"), "{origins}");
    for path in ["today", "catalogue", "catalogue/people", "catalogue/stays", "lineage", "lineage/stays", "dashboards"]
    {
        let told = of(&here.ann, &format!("/api/v1/{path}")).to_string();
        assert!(!told.contains("code") && !told.contains("label"), "{path}: {told}");
        assert!(!told.contains("Example"), "{path}: {told}");
    }
    let (watching, reading) = (of(&here.sam, "/api/v1/today"), of(&here.ann, "/api/v1/today"));
    let rows = |today: &Value| {
        let datasets = today["datasets"].as_array().unwrap();
        datasets.iter().find(|dataset| dataset["name"] == "people").map(|people| people["rows"].clone())
    };
    assert_eq!((rows(&watching), rows(&reading)), (Some(json!(2)), Some(json!(2))));
    here.place
        .until("the delivery is told", || !of(&here.sam, "/api/v1/today")["deliveries"].as_array().unwrap().is_empty());
    assert_eq!(reading["deliveries"], json!([]));
    for path in ["session", "today", "catalogue", "lineage", "dashboards", "events"] {
        assert_eq!(asked(&here, None, "GET", &format!("/api/v1/{path}"), &Value::Null).0, 401, "{path}");
    }
    assert_eq!(asked(&here, Some(&here.ann), "GET", "/api/v1/catalogue/nothing", &Value::Null).0, 404);
}
