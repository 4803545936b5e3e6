//! Reads `access.static_web_app`: whether the word of an Azure Static Web App in front of this server is taken on who asks.
//!
//! Invariant: it is taken only where the project says so, since whoever reaches the server past the app could say it, too.

use std::collections::BTreeMap;

use saphyr::MarkedYaml;

use super::read::Reader;

/// An Azure Static Web App that says who its users are, by a header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticWebApp {
    /// Roles here, by the app's own.
    pub roles: BTreeMap<String, String>,
}

const HELP: &str = "write `roles: {analyst: analyst}`: the role that the app gives, and the one that it is here";

impl Reader<'_> {
    pub(super) fn static_web_app(&mut self, node: &MarkedYaml<'_>) {
        let mut app = StaticWebApp::default();
        for (_, value) in self.entries("access.static_web_app", node, &["roles"]) {
            for (given, role) in self.entries("access.static_web_app.roles", value, &[]) {
                let path = format!("access.static_web_app.roles.{given}");
                app.roles.extend(self.text(&path, role).map(|role| (given.to_owned(), role)));
            }
        }
        if app.roles.is_empty() {
            self.problem(node, "access.static_web_app has no roles".to_owned(), HELP);
        }
        self.access.static_web_app = Some(app);
    }

    pub(super) fn check_static_web_app(&mut self, node: &MarkedYaml<'_>) {
        let roles = self.access.static_web_app.iter().flat_map(|app| app.roles.values());
        let unknown: Vec<String> = roles.filter(|role| !self.access.roles.contains_key(*role)).cloned().collect();
        for role in unknown {
            let message = format!("access.static_web_app.roles: there is no role {role}");
            self.problem(node, message, "write the role under access.roles");
        }
    }
}
