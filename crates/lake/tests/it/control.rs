//! The control store, the same suite on SQLite and on a real PostgreSQL server; and what its loss costs: nothing.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use vitalake_lake::control::{ControlError, ControlPlace, ControlStore, FILE_NAME, Lease, Passwords};
use vitalake_runtime::azure::{Audience, Identity, Tokens};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::{Classified as _, Retry};
use vitalake_runtime::health::Health;

use crate::double::{Answer, Asked, Double};
use crate::postgres_server::{PASSWORD, PostgresServer};

const TTL: Duration = Duration::from_secs(30);
const NOW_MS: i64 = 1_700_000_000_000;
/// Where a child process of the crash test keeps its store.
const CHILD: &str = "VITALAKE_TEST_CONTROL_CHILD";

fn store(place: &ControlPlace, project: &str, clock: &Clock) -> ControlStore {
    ControlStore::new(place.clone(), project, clock.clone(), Health::new("control store", clock.clone()))
}

async fn claim(store: &ControlStore, name: &str) -> Option<Lease> {
    store.claim(name, TTL).await.unwrap()
}

#[tokio::test]
async fn the_suite_holds_on_sqlite() {
    let folder = TempDir::new().unwrap();
    suite(&ControlPlace::parse(None, folder.path()).unwrap()).await;
    assert!(folder.path().join(FILE_NAME).exists());
}

/// Only the first to open a file gives it a write-ahead log, and of those who race to it SQLite makes none wait.
#[tokio::test]
async fn a_new_file_is_opened_by_many_at_once_however_they_meet() {
    for _ in 0..40 {
        let folder = TempDir::new().unwrap();
        many_processes_open_a_new_store_at_once(&ControlPlace::parse(None, folder.path()).unwrap()).await;
    }
}

#[tokio::test]
async fn the_suite_holds_on_postgresql() {
    let Some(server) = PostgresServer::start() else { return };
    suite(&ControlPlace::parse(Some(&server.url()), Path::new("/nowhere")).unwrap()).await;
    assert!(!server.log().contains(PASSWORD));
}

async fn suite(place: &ControlPlace) {
    many_processes_open_a_new_store_at_once(place).await;
    one_of_many_gets_a_lease(place).await;
    a_lease_is_free_when_it_is_given_back_and_when_its_time_is_over(place).await;
    a_former_holder_writes_nothing(place).await;
    a_holder_learns_that_its_lease_is_lost(place).await;
    a_lease_is_renewed_while_it_is_held(place).await;
    what_a_feed_writes_is_read_again_by_its_project_alone(place).await;
    those_of_a_group_know_how_many_they_are(place).await;
}

async fn those_of_a_group_know_how_many_they_are(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let (a, b, other) =
        (store(place, "groups", &clock), store(place, "groups", &clock), store(place, "another project", &clock));
    assert_eq!(other.attend("feeds", TTL).await.unwrap(), 1);
    assert_eq!(a.attend("feeds", TTL).await.unwrap(), 1);
    assert_eq!(b.attend("feeds", TTL).await.unwrap(), 2);
    assert_eq!(b.attend("feeds-of-others", TTL).await.unwrap(), 1);
    a.leave("feeds").await.unwrap();
    assert_eq!(b.attend("feeds", TTL).await.unwrap(), 1);
    assert_eq!(a.attend("feeds", TTL).await.unwrap(), 2);
    clock.advance(TTL + Duration::from_millis(1));
    assert_eq!(b.attend("feeds", TTL).await.unwrap(), 1, "who says nothing any longer is gone");
}

async fn many_processes_open_a_new_store_at_once(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let stores: Vec<_> = (0..8).map(|_| store(place, "opening", &clock)).collect();
    for pinged in futures::future::join_all(stores.iter().map(ControlStore::ping)).await {
        pinged.unwrap();
    }
}

async fn one_of_many_gets_a_lease(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let stores: Vec<_> = (0..8).map(|_| store(place, "racing", &clock)).collect();
    for round in 0..5 {
        let name = format!("feed/{round}");
        let claims = futures::future::join_all(stores.iter().map(|store| claim(store, &name))).await;
        assert_eq!(claims.iter().flatten().count(), 1);
        clock.advance(TTL + Duration::from_millis(1));
        let again = futures::future::join_all(stores.iter().map(|store| claim(store, &name))).await;
        let (first, second) = (claims.iter().flatten().next().unwrap(), again.iter().flatten().next().unwrap());
        assert_eq!(again.iter().flatten().count(), 1);
        assert!(second.epoch() > first.epoch());
        assert!(second.is_held() && !first.is_held());
    }
}

async fn a_lease_is_free_when_it_is_given_back_and_when_its_time_is_over(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let (a, b) = (store(place, "turns", &clock), store(place, "turns", &clock));
    let first = claim(&a, "feed/x").await.unwrap();
    assert!(claim(&b, "feed/x").await.is_none() && claim(&a, "feed/x").await.is_none());
    assert!(claim(&b, "feed/y").await.is_some(), "another name is another lease");
    let epoch = first.epoch();
    first.release().await.unwrap();
    let second = claim(&b, "feed/x").await.unwrap();
    assert!(second.epoch() > epoch);
    clock.advance(TTL);
    assert!(!second.is_held(), "a holder takes it for over before another can claim it");
    assert!(claim(&a, "feed/x").await.is_none());
    clock.advance(Duration::from_millis(1));
    assert!(claim(&a, "feed/x").await.is_some());
}

async fn a_former_holder_writes_nothing(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let (a, b) = (store(place, "fences", &clock), store(place, "fences", &clock));
    let former = claim(&a, "feed/x").await.unwrap();
    assert!(a.set_feed_state("x", "1", &former).await.unwrap());
    // The other's clock is ahead: it takes over while the former holder still believes in its lease.
    let ahead = Clock::manual(NOW_MS + 60_000);
    let early = store(place, "fences", &ahead);
    let now = claim(&early, "feed/x").await.unwrap();
    assert!(early.set_feed_state("x", "2", &now).await.unwrap());
    assert!(former.is_held());
    let files = [("f.csv".to_owned(), "12".to_owned())];
    assert!(!a.set_feed_state("x", "3", &former).await.unwrap());
    assert!(!a.take("x", &files, &former).await.unwrap());
    assert!(!a.begin_delivery("x", "f.csv", &former).await.unwrap());
    assert_eq!(b.feed_state("x").await.unwrap().as_deref(), Some("2"));
    assert!(b.taken("x").await.unwrap().is_empty() && b.in_flight().await.unwrap().is_empty());
}

async fn a_holder_learns_that_its_lease_is_lost(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let (a, b) = (store(place, "losses", &clock), store(place, "losses", &clock));
    let short = Duration::from_millis(60);
    let lease = a.claim("feed/x", short).await.unwrap().unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(!lease.is_held());
    lease.lost().await;
    // A renewal that was on its way has its time in the store yet.
    clock.advance(Duration::from_secs(1));
    assert!(claim(&b, "feed/x").await.is_some());
}

async fn a_lease_is_renewed_while_it_is_held(place: &ControlPlace) {
    let clock = Clock::system();
    let (a, b) = (store(place, "renewals", &clock), store(place, "renewals", &clock));
    let ttl = Duration::from_secs(3);
    let lease = a.claim("feed/x", ttl).await.unwrap().unwrap();
    let began = clock.monotonic();
    while clock.monotonic() < began + ttl + Duration::from_millis(300) && lease.is_held() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A machine that stood still for the whole time may have lost it; otherwise it is still ours.
    if lease.is_held() {
        assert!(b.claim("feed/x", ttl).await.unwrap().is_none());
    }
}

async fn what_a_feed_writes_is_read_again_by_its_project_alone(place: &ControlPlace) {
    let clock = Clock::manual(NOW_MS);
    let (a, other) = (store(place, "mine", &clock), store(place, "theirs", &clock));
    let lease = claim(&a, "feed/x").await.unwrap();
    assert_eq!(a.feed_state("x").await.unwrap(), None);
    let text = r#"{"watermark":"it's ünïcode; $1 'quoted'"}"#;
    assert!(a.set_feed_state("x", text, &lease).await.unwrap());
    let files = |range: std::ops::Range<i32>, mark: &str| -> Vec<(String, String)> {
        range.map(|n| (format!("claims-{n}.csv"), mark.to_owned())).collect()
    };
    assert!(a.take("x", &files(0..2_500, "12-1"), &lease).await.unwrap());
    clock.advance(Duration::from_secs(1));
    assert!(a.take("x", &files(0..2, "13-2"), &lease).await.unwrap());
    assert!(a.begin_delivery("x", "claims-1.csv", &lease).await.unwrap());
    let again = store(place, "mine", &clock);
    assert_eq!(again.feed_state("x").await.unwrap().as_deref(), Some(text));
    let taken = again.taken("x").await.unwrap();
    assert_eq!((taken.len(), taken["claims-1.csv"].as_str(), taken["claims-2.csv"].as_str()), (2_500, "13-2", "12-1"));
    let flying = again.in_flight().await.unwrap();
    assert_eq!((flying.len(), flying[0].name.as_str(), flying[0].epoch), (1, "claims-1.csv", lease.epoch()));
    assert!(a.end_delivery("x", "claims-1.csv", &lease).await.unwrap());
    assert!(a.forget_taken("x", (NOW_MS + 1) * 1_000, &lease).await.unwrap());
    assert_eq!(again.taken("x").await.unwrap().len(), 2);
    assert!(again.in_flight().await.unwrap().is_empty());
    assert!(other.feed_state("x").await.unwrap().is_none() && other.taken("x").await.unwrap().is_empty());
    assert!(claim(&other, "feed/x").await.is_some(), "projects of one database have their own leases");
}

/// A store in a folder, with a state and a held lease, and what loses it.
async fn lose(loss: impl FnOnce(&Path)) -> (TempDir, ControlStore, Lease) {
    let folder = TempDir::new().unwrap();
    let store = store(&ControlPlace::parse(None, folder.path()).unwrap(), "p", &Clock::manual(NOW_MS));
    let lease = claim(&store, "feed/x").await.unwrap();
    assert!(store.set_feed_state("x", "1", &lease).await.unwrap());
    loss(&folder.path().join(FILE_NAME));
    (folder, store, lease)
}

#[tokio::test]
async fn a_file_that_is_deleted_while_it_is_open_is_made_again() {
    let (folder, store, lease) = lose(|file| fs::remove_file(file).unwrap()).await;
    assert_eq!(store.feed_state("x").await.unwrap(), None);
    assert!(folder.path().join(FILE_NAME).exists());
    assert!(!store.set_feed_state("x", "2", &lease).await.unwrap(), "its lease was lost with it");
    let again = claim(&store, "feed/x").await.unwrap();
    assert!(store.set_feed_state("x", "2", &again).await.unwrap());
    let reader =
        ControlStore::new(store.place().clone(), "p", Clock::manual(NOW_MS), Health::new("x", Clock::manual(0)));
    assert_eq!(
        reader.feed_state("x").await.unwrap().as_deref(),
        Some("2"),
        "what is written is in the file that is there"
    );
}

#[tokio::test]
async fn a_file_that_is_deleted_or_broken_while_nobody_has_it_open_is_made_again() {
    type Loss = fn(&Path);
    let broken: [(&str, Loss); 4] = [
        ("deleted", |file| fs::remove_file(file).unwrap()),
        ("no database", |file| fs::write(file, "this is no database, and longer than its head is at least").unwrap()),
        ("cut short", |file| fs::File::options().write(true).open(file).unwrap().set_len(6_000).unwrap()),
        ("overwritten", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[4_096..].fill(0xa5);
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (how, loss) in broken {
        let (folder, store, lease) = lose(|_| {}).await;
        drop(lease);
        let place = store.place().clone();
        store.close().await;
        loss(&folder.path().join(FILE_NAME));
        let again = self::store(&place, "p", &Clock::manual(NOW_MS));
        assert_eq!(again.feed_state("x").await.unwrap(), None, "{how}");
        let lease = claim(&again, "feed/x").await.unwrap();
        assert!(again.set_feed_state("x", "2", &lease).await.unwrap(), "{how}");
        let aside = folder.path().join(format!("{FILE_NAME}.unreadable"));
        assert_eq!(aside.exists(), how != "deleted", "{how}: what could not be read is kept beside");
    }
}

#[tokio::test]
async fn what_a_store_says_after_its_end_and_of_a_folder_that_is_not_there() {
    let (_folder, store, lease) = lose(|_| {}).await;
    drop(lease);
    store.close().await;
    assert!(store.ping().await.is_err());
    let nowhere = self::store(&ControlPlace::File("/nowhere/at/all.db".into()), "p", &Clock::manual(NOW_MS));
    let error = nowhere.ping().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Later);
    assert!(nowhere.away().unwrap().reason.contains("/nowhere/at/all.db"));
}

#[tokio::test]
async fn a_server_that_goes_away_is_waited_for_and_found_again() {
    let Some(server) = PostgresServer::start() else { return };
    let place = ControlPlace::parse(Some(&server.url()), Path::new("/nowhere")).unwrap();
    let clock = Clock::manual(NOW_MS);
    let store = store(&place, "p", &clock);
    let lease = claim(&store, "feed/x").await.unwrap();
    assert!(store.set_feed_state("x", "1", &lease).await.unwrap());
    server.stop("immediate");
    let error = store.feed_state("x").await.unwrap_err();
    assert!(matches!(error, ControlError::Away { .. }) && error.retry() == Retry::Later, "{error}");
    assert!(store.away().is_some() && !format!("{error} {error:?} {store:?}").contains(PASSWORD));
    server.start_again();
    assert_eq!(store.feed_state("x").await.unwrap().as_deref(), Some("1"));
    assert!(store.away().is_none() && lease.is_held());

    let pool = sqlx::PgPool::connect(&server.url()).await.unwrap();
    sqlx::query("DROP SCHEMA vitalake CASCADE").execute(&pool).await.unwrap();
    assert_eq!(store.feed_state("x").await.unwrap(), None, "tables that are gone are made again");
    assert!(!store.set_feed_state("x", "2", &lease).await.unwrap());

    sqlx::query("UPDATE vitalake.control_version SET version = 99").execute(&pool).await.unwrap();
    let error = self::store(&place, "p", &clock).ping().await.unwrap_err();
    assert!(matches!(error, ControlError::Newer { found: 99, .. }), "{error}");

    let wrong = ControlPlace::parse(Some(&server.url_of("postgres", "not-hunter2")), Path::new("/nowhere")).unwrap();
    let error = self::store(&wrong, "p", &clock).ping().await.unwrap_err();
    assert!(error.to_string().contains("28P01") && !error.to_string().contains("hunter2"), "{error}");
}

/// Its own process, as the crash test starts it: it writes until it is killed.
#[tokio::test]
async fn child_of_the_crash_test() {
    let Ok(url) = std::env::var(CHILD) else { return };
    let place = match url.strip_prefix("file:") {
        Some(path) => ControlPlace::File(path.into()),
        None => ControlPlace::parse(Some(&url), Path::new("/nowhere")).unwrap(),
    };
    let store = store(&place, "crash", &Clock::system());
    // A child that was killed holds its lease for a while yet: each has one of its own.
    let lease = claim(&store, &format!("feed/{}", std::process::id())).await.unwrap();
    let mut n: u64 = store.feed_state("x").await.unwrap().map_or(0, |state| state.parse().unwrap());
    loop {
        n += 1;
        let files: Vec<_> = (0..3).map(|k| (format!("{n}-{k}"), String::new())).collect();
        let name = n.to_string();
        if !(store.begin_delivery("x", &name, &lease).await.unwrap()
            && store.take("x", &files, &lease).await.unwrap()
            && store.set_feed_state("x", &name, &lease).await.unwrap()
            && store.end_delivery("x", &name, &lease).await.unwrap())
        {
            return;
        }
        println!("\ncame to {n}");
    }
}

async fn kill_and_look(url: &str, place: &ControlPlace, server: Option<&PostgresServer>) {
    let mut last: u64 = 0;
    for round in 0..4_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "control::child_of_the_crash_test", "--nocapture"])
            .env(CHILD, url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.filter_map(|line| line.strip_prefix("came to ").and_then(|n| n.parse::<u64>().ok()));
        // Each round ends it after another number of steps; it goes on meanwhile, so that the end falls anywhere.
        let acknowledged = said.take(usize::try_from(1 + 3 * round).unwrap()).last().unwrap_or(last);
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(server) = server.filter(|_| round % 2 == 1) {
            server.stop("immediate");
            server.start_again();
        }
        let store = store(place, "crash", &Clock::system());
        let state: u64 = store.feed_state("x").await.unwrap().unwrap().parse().unwrap();
        assert!(state >= acknowledged && acknowledged > last, "{state} {acknowledged} {last}");
        let taken = u64::try_from(store.taken("x").await.unwrap().len()).unwrap();
        assert!(taken == 3 * state || taken == 3 * (state + 1), "files are taken all together: {taken} of {state}");
        let flying = store.in_flight().await.unwrap();
        assert!(flying.len() <= 2, "{flying:?}");
        last = state;
    }
}

#[tokio::test]
async fn what_was_written_survives_a_kill_at_any_moment_on_sqlite() {
    let folder = TempDir::new().unwrap();
    let place = ControlPlace::parse(None, folder.path()).unwrap();
    let url = format!("file:{}", folder.path().join(FILE_NAME).display());
    kill_and_look(&url, &place, None).await;
}

#[tokio::test]
async fn what_was_written_survives_a_kill_at_any_moment_on_postgresql() {
    let Some(server) = PostgresServer::start() else { return };
    let place = ControlPlace::parse(Some(&server.url()), Path::new("/nowhere")).unwrap();
    kill_and_look(&server.url(), &place, Some(&server)).await;
}

/// A server of tokens that answers as a machine of Azure does; the token is what it was last told.
fn token_server() -> (Double, Arc<Mutex<String>>) {
    let token = Arc::new(Mutex::new(PASSWORD.to_owned()));
    let given = Arc::clone(&token);
    let answer = move |_: &Asked| {
        let token = given.lock().unwrap().clone();
        Answer::of(200, &format!(r#"{{"access_token":"{token}","expires_in":"3599","token_type":"Bearer"}}"#))
    };
    (Double::start(answer), token)
}

fn with_tokens(server: &PostgresServer, user: &str, tokens: &Double, renewed_every: Duration) -> ControlPlace {
    let url = server.url_of(user, "x").replace(":x@", "@");
    let environment = [("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), tokens.url.clone())].into();
    let identity = Identity::from_environment(&environment).unwrap();
    let tokens = Tokens::new(identity, Audience::new(Audience::POSTGRESQL), Clock::system());
    let place = ControlPlace::parse(Some(&url), Path::new("/nowhere")).unwrap();
    assert_eq!(place.takes_no_tokens(), None);
    place.with_passwords(Passwords { tokens, renewed_every })
}

/// As long as tokens of Azure are.
fn long_token(letter: char) -> String {
    std::iter::repeat_n(letter, 1_800).collect()
}

/// Has the server know another password, as it would know another token, and ends every connection.
fn change_password(server: &PostgresServer, tokens: &Mutex<String>, password: &str) {
    server.sql(&format!(
        "ALTER ROLE lake PASSWORD '{password}'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lake'"
    ));
    *tokens.lock().unwrap() = password.to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stand_for_the_password_and_are_renewed_while_two_processes_go_on() {
    let Some(server) = PostgresServer::start() else { return };
    let (double, token) = token_server();
    server.sql("CREATE ROLE lake LOGIN; GRANT CREATE ON DATABASE postgres TO lake");
    change_password(&server, &token, &long_token('a'));
    let clock = Clock::system();
    let hour = Duration::from_secs(3_600);
    let process = || store(&with_tokens(&server, "lake", &double, hour), "tokens", &clock);
    let (one, other) = (process(), process());
    let lease = one.claim("feed/x", TTL).await.unwrap().unwrap();
    assert!(other.claim("feed/x", TTL).await.unwrap().is_none());
    let asked = double.asked();
    let resource = "resource=https%3A%2F%2Fossrdbms-aad.database.windows.net";
    assert!(asked.iter().all(|asked| asked.target.contains(resource)) && asked.len() == 2, "{asked:?}");

    // The token is over in the middle: who is refused asks for another, and goes on.
    change_password(&server, &token, &long_token('b'));
    for store in [&one, &other] {
        let mut claimed = store.claim("feed/y", TTL).await;
        if claimed.is_err() {
            // The connection was cut under the first call.
            claimed = store.claim("feed/y", TTL).await;
        }
        claimed.unwrap();
    }
    assert!(
        one.set_feed_state("x", "1", &lease).await.unwrap(),
        "a lease outlives the token that it was claimed under"
    );
    assert_eq!(other.feed_state("x").await.unwrap().as_deref(), Some("1"));
    let log = server.log();
    assert!(!log.contains(&long_token('a')) && !log.contains(&long_token('b')));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_connection_has_the_newest_token_before_anybody_is_refused() {
    let Some(server) = PostgresServer::start() else { return };
    let (double, token) = token_server();
    let place = with_tokens(&server, "postgres", &double, Duration::from_millis(50));
    let ControlPlace::Postgres(_, Some(passwords)) = &place else { unreachable!() };
    let store = store(&place, "renewals", &Clock::system());
    store.ping().await.unwrap();
    let first = passwords.tokens.get().unwrap();
    *token.lock().unwrap() = long_token('c');
    server.sql(&format!("ALTER ROLE postgres PASSWORD '{}'", long_token('c')));
    passwords.tokens.refused(&first);
    // Renewed by time alone: nothing asks the store.
    while double.count() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.sql_as(
        &long_token('c'),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename = 'postgres'",
    );
    let mut pinged = store.ping().await;
    if pinged.is_err() {
        pinged = store.ping().await;
    }
    pinged.unwrap();
    assert!(!server.log().contains("password authentication failed"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_endpoint_that_is_away_is_said_and_holds_up_the_store_alone() {
    let Some(server) = PostgresServer::start() else { return };
    let double = Double::always(Answer::of(400, r#"{"error":"invalid_request"}"#));
    let store = store(&with_tokens(&server, "postgres", &double, TTL), "refused", &Clock::system());
    let error = store.ping().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("there is no token") && said.contains("AZURE_CLIENT_ID"), "{said}");
    assert_eq!(error.retry(), Retry::Later);
}

#[test]
fn tokens_and_passwords_and_plain_connections_do_not_go_together() {
    let place = |url| ControlPlace::parse(url, Path::new("/nowhere")).unwrap().takes_no_tokens().unwrap_or("well");
    assert!(place(Some("postgres://u:p@h/d?sslmode=require")).contains("leave one of them out"));
    assert!(place(Some("postgres://u@h/d?sslmode=require&password=p")).contains("leave one of them out"));
    assert!(place(Some("postgres://u@h/d")).contains("not sent in the clear"));
    assert!(place(None).contains("nothing without control.url"));
    for url in ["postgres://u@h/d?sslmode=verify-full", "postgres://u@127.0.0.1:5432/d"] {
        assert_eq!(place(Some(url)), "well");
    }
}
