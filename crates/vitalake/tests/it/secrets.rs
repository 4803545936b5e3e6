//! Settings that can hold a secret, each with a marked one: nothing that the process says holds it.

use std::path::Path;
use std::process::{Command, Output};

use rstest::rstest;

const MARK: &str = "HUNTER2";

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn run(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(crate::binary());
    command.args(arguments).current_dir(dir).env_clear().env("NO_COLOR", "1").env("RUST_LOG", "debug");
    command.envs(environment.iter().copied()).output().unwrap()
}

#[rstest]
#[case::query("storage: {url: 'az://lake/p?sv=2024&sig=HUNTER2'}", &[])]
#[case::fragment("storage: {url: 'az://lake/p#HUNTER2'}", &[])]
#[case::password("storage: {url: 'abfss://lake:HUNTER2@account.dfs.core.windows.net/p'}", &[])]
#[case::encoded("storage: {url: 'az://lake/p%3Fsig=HUNTER2'}", &[])]
#[case::connection_string("storage: {url: 'az://lake/AccountName=a;AccountKey=HUNTER2'}", &[])]
#[case::other_store("storage: {url: 's3://key:HUNTER2@bucket/p'}", &[])]
#[case::by_environment("", &[("VITALAKE_STORAGE__URL", "az://lake/p?sig=HUNTER2")])]
#[case::by_reference("storage: {url: '${LAKE}'}", &[("LAKE", "az://lake/p?sig=HUNTER2")])]
#[case::signature("storage: {url: 'az://lake/p'}", &[("AZURE_STORAGE_SAS_TOKEN", "sig=HUNTER2"), ("AZURE_STORAGE_ACCOUNT_NAME", "a")])]
#[case::account_key("storage: {url: 'az://lake/p'}", &[("AZURE_STORAGE_ACCOUNT_KEY", "HUNTER2"), ("AZURE_STORAGE_ACCOUNT_NAME", "a")])]
#[case::endpoint("storage: {url: 'az://lake/p'}", &[("AZURE_STORAGE_ENDPOINT", "HUNTER2://x?sig=HUNTER2"), ("AZURE_STORAGE_ACCOUNT_NAME", "a")])]
#[case::broker_password(
    "kafka: {bootstrap: '127.0.0.1', properties: {sasl.username: u, sasl.password: HUNTER2}}",
    &[]
)]
#[case::event_hubs(
    "kafka: {bootstrap: '127.0.0.1', properties: {sasl.password: '${HUB}'}}",
    &[("HUB", "Endpoint=sb://h/;SharedAccessKeyName=k;SharedAccessKey=HUNTER2")]
)]
#[case::unknown_property("kafka: {bootstrap: '127.0.0.1', properties: {no.such.property: HUNTER2}}", &[])]
#[case::wrong_type("kafka: {listen: HUNTER2}", &[])]
#[case::a_password_beside_tokens("control: {url: 'postgres://u:HUNTER2@h/d?sslmode=require', azure_identity: true}", &[])]
#[case::a_rule_that_is_none("azure: {monitor: {endpoint: 'https://h.example', rule: HUNTER2}}", &[])]
#[case::a_connection_string("telemetry: {application_insights: 'InstrumentationKey=HUNTER2'}", &[])]
fn no_message_holds_a_secret(#[case] settings: &str, #[case] environment: &[(&str, &str)]) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("vitalake.yaml"), format!("name: x\n{settings}\n")).unwrap();
    // What is refused at `validate` is refused by `up`, which would go on otherwise.
    let validated = run(dir.path(), &["validate", "."], environment);
    assert!(!said(&validated).contains(MARK), "{}", said(&validated));
    if !validated.status.success() {
        let up = run(dir.path(), &["up", "--data", "data"], environment);
        assert!(!up.status.success() && !said(&up).contains(MARK), "{}", said(&up));
    }
}
