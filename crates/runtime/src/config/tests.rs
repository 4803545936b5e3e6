//! The configuration: precedence, positions of what is wrong, secrets that stay masked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn parse_with(text: &str, pairs: &[(&str, &str)], overrides: &Overrides) -> Result<Config, Vec<ConfigProblem>> {
    Config::parse(text, Path::new("/projects/remote-care"), &environment(pairs), overrides)
}

fn parse(text: &str) -> Result<Config, Vec<ConfigProblem>> {
    parse_with(text, &[], &Overrides::default())
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.name, "remote-care");
    assert_eq!(config.data, Path::new("/projects/remote-care/data"));
    assert_eq!(config.storage.commit_interval_ms, 30_000);
    assert_eq!(config.storage.tail_bytes_max, 268_435_456);
    assert_eq!(config.storage.reserve_bytes, 1_073_741_824);
    assert_eq!(config.kafka.listen.to_string(), "127.0.0.1:9092");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8888");
    assert_eq!(config.log.retention_ms, 604_800_000);
    assert_eq!((config.log.retention_bytes, config.kafka.bootstrap.as_deref()), (None, None));
    assert_eq!(config.storage.url, None);
}

#[test]
fn a_whole_file_is_read() {
    let text = "\
name: care
storage:
  url: /mnt/lake
  commit_interval_ms: 2000
kafka:
  listen: localhost:19092
  create_topics: false
log:
  retention_bytes: 10485760
http: { listen: '[::1]:0' }
feeds: { visits: { source: { postgres: '${NOT_SET}' } } }
notify:
  ops:
    type: webhook
    url: ${HOOK}/alerts
";
    let config = parse_with(text, &[("HOOK", "https://secret.example")], &Overrides::default()).unwrap();
    assert_eq!(config.storage.commit_interval_ms, 2_000);
    assert_eq!(config.kafka.listen.to_string(), "127.0.0.1:19092");
    assert!(!config.kafka.create_topics && config.http.listen.is_ipv6());
    assert_eq!(config.log.retention_bytes, Some(10 << 20));
    assert_eq!(config.notify["ops"].type_name(), "webhook");
    assert_eq!(config.storage.url.as_deref(), Some("/mnt/lake"));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn a_flag_is_stronger_than_the_environment_and_that_than_the_file() {
    let text = "kafka: {listen: 127.0.0.1:1}\nhttp: {listen: 127.0.0.1:2}\nstorage: {commit_interval_ms: 1000}\n";
    let pairs = [
        ("VITALAKE_KAFKA__LISTEN", "127.0.0.1:3"),
        ("VITALAKE_STORAGE__COMMIT_INTERVAL_MS", "2000"),
        ("VITALAKE_SERVER", "http://127.0.0.1:8888"),
        ("VITALAKE_LOG", "debug"),
        ("HOME", "/root"),
    ];
    let overrides = Overrides { data: Some("/d".into()), kafka: Some("127.0.0.1:4".into()), http: None };
    let config = parse_with(text, &pairs, &overrides).unwrap();
    assert_eq!(config.kafka.listen.port(), 4);
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.storage.commit_interval_ms, 2_000);
    assert_eq!(config.data, Path::new("/d"));
}

#[rstest::rstest]
#[case::unknown_key("storage:\n  commit_intervall_ms: 5\n", (2, 3), "unknown key storage.commit_intervall_ms", "storage.commit_interval_ms?")]
#[case::unknown_section("stroage:\n  url: a\n", (1, 1), "unknown key stroage", "storage?")]
#[case::key_without_its_section("retention_ms: 5\n", (1, 1), "unknown key retention_ms", "log.retention_ms?")]
#[case::nothing_near("lemonade: {}\n", (1, 1), "unknown key lemonade", "docs/configuration.md")]
#[case::no_engine("engines:\n  transform: sparc\n", (2, 14), "engines.transform must be datafusion, spark or an address", "")]
#[case::no_address_of_spark("engines: {spark: 'http://spark:15002'}\n", (1, 18), "engines.spark must be the address of Spark Connect", "")]
#[case::no_host_of_spark("engines: {transform: 'sc://:15002'}\n", (1, 22), "engines.transform must be the address of Spark Connect", "")]
#[case::not_a_number("storage:\n  commit_interval_ms: soon\n", (2, 23), "whole number of milliseconds from 100 to 3600000", "")]
#[case::out_of_bounds("storage: {commit_interval_ms: 5}\n", (1, 31), "whole number", "")]
#[case::not_a_boolean("kafka: {create_topics: yes}\n", (1, 24), "must be true or false", "")]
#[case::not_an_address("http:\n  listen: 8888\n", (2, 11), "must be an address and a port", "")]
#[case::no_url("http: {public_url: 'lake.example.org'}\n", (1, 20), "must be an address of a browser", "")]
#[case::a_secret_in_it("http: {public_url: 'https://me:word@lake.example.org'}\n", (1, 20), "without user", "")]
#[case::a_query_in_it("http: {public_url: 'https://lake.example.org/?a=b'}\n", (1, 20), "without user", "")]
#[case::no_port("kafka:\n  bootstrap: broker-1:9092,broker-2\n", (2, 14), "kafka.bootstrap: broker 2 has no port", "HOST:PORT")]
#[case::empty_port("kafka: {bootstrap: 'broker-1:'}\n", (1, 20), "broker 1 has no port", "HOST:PORT")]
#[case::a_space("kafka: {bootstrap: 'broker-1:9092, broker-2:9092'}\n", (1, 20), "broker 2 has a space", "no spaces")]
#[case::no_broker("kafka: {bootstrap: 'broker-1:9092,'}\n", (1, 20), "broker 2 is empty", "HOST:PORT")]
#[case::a_url("kafka: {bootstrap: 'kafka://broker-1:9092'}\n", (1, 20), "broker 1 is a URL", "HOST:PORT")]
#[case::a_list("name: [a]\n", (1, 7), "name must be a single value", "")]
#[case::no_value("name:\n", (1, 1), "name has no value", "")]
#[case::not_a_map("storage: here\n", (1, 10), "storage must be a map", "")]
#[case::missing_variable("name: ${CARE_NAME}\n", (1, 7), "environment variable CARE_NAME is not set", "set CARE_NAME")]
#[case::open_variable("name: ${CARE\n", (1, 7), "without its `}`", "")]
#[case::not_yaml("name: [a\n", (2, 1), "not YAML", "")]
#[case::twice("name: a\nname: b\n", (2, 1), "duplicate", "")]
#[case::two_documents("name: a\n---\nname: b\n", (3, 1), "only one document", "")]
#[case::public_address("kafka: {listen: '0.0.0.0:9092'}\n", (0, 0), "kafka.listen: only a loopback address", "127.0.0.1")]
#[case::same_address("kafka: {listen: '127.0.0.1:8888'}\n", (0, 0), "same address", "")]
fn a_mistake_is_told_with_its_place(
    #[case] text: &str,
    #[case] place: (usize, usize),
    #[case] message: &str,
    #[case] help: &str,
) {
    let problems = parse(text).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = &problems[0];
    assert!(problem.message.contains(message), "{problem}");
    assert!(problem.help.as_deref().unwrap_or_default().contains(help), "{problem}");
    assert_eq!((problem.line, problem.column), place, "{problem}");
}

#[rstest::rstest]
#[case("broker-1:9092")]
#[case("[::1]:9092,10.0.0.1:9093,hub.servicebus.windows.net:9093")]
fn brokers_are_taken_as_they_are(#[case] brokers: &str) {
    let config = parse_with("", &[("VITALAKE_KAFKA__BOOTSTRAP", brokers)], &Overrides::default()).unwrap();
    assert_eq!(config.kafka.bootstrap.as_deref(), Some(brokers));
    let wrong = parse_with("", &[("VITALAKE_KAFKA__BOOTSTRAP", " ")], &Overrides::default()).unwrap_err();
    assert!(wrong[0].message.contains("VITALAKE_KAFKA__BOOTSTRAP") && wrong[0].help.is_some(), "{wrong:?}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "nam: a\nkafka: {listen: x}\nlog: {retention_ms: -1}\n";
    assert_eq!(parse(text).unwrap_err().len(), 3);
}

#[test]
fn an_unknown_setting_in_the_environment_is_an_error_that_names_it() {
    let problems = parse_with("", &[("VITALAKE_STORAGE__ULR", "a")], &Overrides::default()).unwrap_err();
    assert!(problems[0].message.contains("VITALAKE_STORAGE__ULR"));
    assert!(problems[0].help.as_deref().unwrap().contains("VITALAKE_STORAGE__URL"));
}

#[test]
fn a_message_holds_no_value() {
    let pairs = [("SECRET", "hunter2"), ("VITALAKE_HTTP__LISTEN", "hunter2")];
    let overrides = Overrides { kafka: Some("hunter2".into()), ..Overrides::default() };
    let problems = parse_with("storage: {reserve_bytes: '${SECRET}'}\n", &pairs, &overrides).unwrap_err();
    assert_eq!(problems.len(), 3);
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn the_url_of_the_control_store_is_taken_by_reference_and_not_shown() {
    let text = "control: {url: 'postgres://u:${PASSWORD}@h/d'}\n";
    let config = parse_with(text, &[("PASSWORD", "hunter2")], &Overrides::default()).unwrap();
    assert_eq!(config.control.url.as_ref().unwrap().expose(), "postgres://u:hunter2@h/d");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_doubled_dollar_stands_for_the_text_itself() {
    assert_eq!(parse("name: a$${B}c$\n").unwrap().name, "a${B}c$");
}

#[test]
fn where_people_reach_it_ends_without_a_slash() {
    let parsed = |url: &str| parse(&format!("http: {{public_url: '{url}'}}\n")).unwrap().http.public_url;
    assert_eq!(parsed("https://lake.example.org/care/").as_deref(), Some("https://lake.example.org/care"));
    assert_eq!(parsed("http://127.0.0.1:8080").as_deref(), Some("http://127.0.0.1:8080"));
}

#[rstest::rstest]
#[case("/mnt/lake", "/mnt/lake")]
#[case("abfss://lake@account.dfs.core.windows.net/x", "abfss://lake@account.dfs.core.windows.net/x")]
#[case("https://user:word@host/x?sig=abc", "https://***@host/x?***")]
#[case("az://lake", "az://lake")]
#[case::no_scheme("user:secret@host:1/p", "***@host:1/p")]
fn a_url_is_shown_without_its_secrets(#[case] url: &str, #[case] shown: &str) {
    assert_eq!(masked_url(url), shown);
}

#[test]
fn the_reference_page_is_made_from_the_list_of_settings() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(page.parent().unwrap()).unwrap();
        std::fs::write(&page, reference_markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert_eq!(written, reference_markdown(), "run UPDATE_DOCS=1 cargo test -p vitalake-runtime");
}

#[test]
fn the_defaults_in_words_are_the_defaults() {
    let defaults = Config::defaults(Path::new("/p"));
    for setting in SETTINGS {
        let word = setting.default.split(' ').next().unwrap_or_default();
        let mut config = defaults.clone();
        if setting.set(word, &mut config).is_ok() && setting.key != "name" && word != "none" && word != "the" {
            assert_eq!(config, defaults, "{} is not {word}", setting.key);
        }
    }
}

const RECEIVERS: &str = "\
notify:
  ops: {type: webhook, url: '${HOOK}', headers: {Authorization: 'Bearer ${TOKEN}'}}
  pager: {type: pagerduty, routing_key: '${KEY}'}
  mail: {type: email, smtp: 'smtp://${USER_PASSWORD}@mail:25', from: a@b.example, to: [c@d.example]}
";

#[test]
fn receivers_are_valid_without_their_variables_and_have_them_when_they_are_resolved() {
    let config = parse(RECEIVERS).unwrap();
    let pairs = [("HOOK", "http://hunter2"), ("TOKEN", "hunter2"), ("KEY", "hunter2"), ("USER_PASSWORD", "u:hunter2")];
    let resolved = notify::resolve(&config.notify, &environment(&pairs)).unwrap();
    let notify::Receiver::Webhook { url, headers } = &resolved["ops"] else { panic!("another type") };
    assert_eq!((url.expose(), headers["Authorization"].expose()), ("http://hunter2", "Bearer hunter2"));
    assert!(!format!("{resolved:?} {config:?}").contains("hunter2"));
    let wrong = notify::resolve(&config.notify, &environment(&[("HOOK", "hunter2"), ("TOKEN", "a")])).unwrap_err();
    let wrong = wrong.to_string();
    for part in ["notify.ops.url: this is no address", "notify.pager.routing_key: environment variable KEY is not set"]
    {
        assert!(wrong.contains(part), "{wrong}");
    }
    assert!(!wrong.contains("hunter2"));
}

#[test]
fn a_receiver_that_asks_for_a_variable_which_is_not_set_is_left_out_and_the_others_have_theirs() {
    let config = parse(RECEIVERS).unwrap();
    let left = notify::resolvable(&config.notify, &environment(&[("KEY", "k1"), ("HOOK", "http://h")]));
    assert_eq!(left.keys().collect::<Vec<_>>(), ["pager"]);
    let notify::Receiver::PagerDuty { routing_key, .. } = &left["pager"] else { panic!("another type") };
    assert_eq!(routing_key.expose(), "k1");
}

#[rstest::rstest]
#[case::no_type("{url: http://x}", "has no `type`", "webhook")]
#[case::unknown_type("{type: fax}", "a type that is not known", "pagerduty")]
#[case::unknown_key("{type: slack, url: http://x, chanel: a}", "an unknown key", "it takes type, url")]
#[case::no_url("{type: teams}", "needs a text for `url`", "${NAME}")]
#[case::no_address("{type: webhook, url: hunter2}", "no address", "https://")]
#[case::no_receivers("{type: email, smtp: smtp://h, from: a, to: []}", "`to`", "")]
fn a_receiver_that_cannot_be_is_told_without_its_value(#[case] text: &str, #[case] message: &str, #[case] help: &str) {
    let problems = parse(&format!("notify:\n  ops: {text}\n")).unwrap_err();
    assert_eq!((problems.len(), problems[0].line), (1, 2), "{problems:?}");
    assert!(problems[0].message.contains(message), "{problems:?}");
    assert!(problems[0].help.as_deref().unwrap_or_default().contains(help), "{problems:?}");
    assert!(!format!("{problems:?}").contains("hunter2"));
}

#[test]
fn the_address_of_spark_is_shown_nowhere() {
    let text = "engines:\n  transform: 'sc://spark:15002/;token=${SPARK_TOKEN}'\n";
    let config = parse_with(text, &[("SPARK_TOKEN", "a-secret")], &Overrides::default()).unwrap();
    let address = config.engines.spark_address().unwrap();
    assert_eq!(address.expose(), "sc://spark:15002/;token=a-secret");
    assert!(config.engines.transforms_on_spark());
    assert!(!format!("{config:?}").contains("a-secret"));
}

#[test]
fn one_model_alone_can_be_meant() {
    let config = parse_with("engines: {spark: 'sc://spark'}\n", &[], &Overrides::default()).unwrap();
    assert!(!config.engines.transforms_on_spark());
    assert_eq!(config.engines.spark_address().unwrap().expose(), "sc://spark");
}

#[test]
fn a_map_of_the_environment_is_an_object_over_that_of_the_file() {
    let text = "kafka: {bootstrap: 'b:9092', properties: {security.protocol: PLAINTEXT, client.id: lake}}";
    let given = r#"{"security.protocol": "SASL_SSL", "sasl.username": "${NOT_A_VARIABLE}"}"#;
    let config = parse_with(text, &[("VITALAKE_KAFKA__PROPERTIES", given)], &Overrides::default()).unwrap();
    assert_eq!(config.kafka.properties["security.protocol"], "SASL_SSL");
    assert_eq!(config.kafka.properties["client.id"], "lake");
    // Variables stand for others in the file alone: here the text is what was meant.
    assert_eq!(config.kafka.properties["sasl.username"], "${NOT_A_VARIABLE}");
    for wrong in ["security.protocol=SASL_SSL", "[1]", "\"secret\"", ""] {
        let problems = parse_with("", &[("VITALAKE_KAFKA__PROPERTIES", wrong)], &Overrides::default()).unwrap_err();
        let message = &problems[0].message;
        assert!(message.contains("VITALAKE_KAFKA__PROPERTIES") && message.contains("JSON object"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}
