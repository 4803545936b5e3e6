//! Settings from the environment and from the command line, over those of the file.
//!
//! Invariant: a variable that looks like a setting is one, or it is an error.

use super::{ENVIRONMENT_PREFIX, SETTINGS, Setting};
use crate::config::problem::ConfigProblem;
use crate::config::{Config, Environment, Overrides};

/// Takes the `VITALAKE_*` variables that are settings. One with a double underscore must be a setting.
pub(in crate::config) fn apply_environment(
    environment: &Environment,
    config: &mut Config,
    problems: &mut Vec<ConfigProblem>,
) {
    for (variable, value) in environment {
        if !variable.starts_with(ENVIRONMENT_PREFIX) {
            continue;
        }
        let setting = SETTINGS.iter().find(|setting| setting.environment_variable().as_ref() == Some(variable));
        match setting {
            Some(setting) => {
                if let Err(message) = setting.set(value, config) {
                    let problem = ConfigProblem::nowhere(format!("environment variable {variable}: {message}"));
                    problems.push(problem.with_help_of(setting));
                }
            }
            // Without it, the variable is the command line's own (VITALAKE_SERVER, VITALAKE_LOG) and no setting.
            None if variable.contains("__") => problems.push(unknown_variable(variable)),
            None => {}
        }
    }
}

fn unknown_variable(variable: &str) -> ConfigProblem {
    let known: Vec<String> = SETTINGS.iter().filter_map(Setting::environment_variable).collect();
    let problem = ConfigProblem::nowhere(format!("environment variable {variable} is not a setting"));
    match crate::config::document::nearest(variable, known.iter().map(String::as_str)) {
        Some(near) => problem.with_help(format!("did you mean {near}?")),
        None => problem.with_help("remove it; docs/configuration.md lists the settings"),
    }
}

/// Takes what the command line says.
pub(in crate::config) fn apply_overrides(
    overrides: &Overrides,
    config: &mut Config,
    problems: &mut Vec<ConfigProblem>,
) {
    if let Some(data) = &overrides.data {
        config.data.clone_from(data);
    }
    for (flag, key, value) in
        [("--kafka", "kafka.listen", &overrides.kafka), ("--http", "http.listen", &overrides.http)]
    {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        if let (Some(setting), Some(value)) = (setting, value)
            && let Err(message) = setting.set(value, config)
        {
            problems.push(ConfigProblem::nowhere(format!("{flag}: {message}")));
        }
    }
}
