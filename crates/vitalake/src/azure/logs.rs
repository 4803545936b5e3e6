//! The tables of the ops datasets in the workspace, and the data collection rule through which rows reach them.
//!
//! Invariant: a column stands in the table and in the stream under the same name and type, and the rule waits for the
//! tables: Azure refuses one whose table is not there.

use std::fmt::Write as _;

use vitalake_ops::monitor::schema::{LogTable, LogType, log_tables};

use super::bicep::{MADE, quoted, symbol};

const HEAD: &str = "// The ops datasets as tables, and the rule whose streams take their rows.\n\
    @description('Region')\nparam location string\n\
    @description('Name of the rule')\nparam name string\n\
    @description('Name of the workspace')\nparam workspaceName string\n\
    @description('Days that rows are kept')\nparam retentionDays int\n\
    @description('Who sends rows')\nparam publisherPrincipalId string\n\n\
    var roles = loadJsonContent('../roles.json')\n\
    var publisher = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])\n\n\
    resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {\n  name: workspaceName\n}\n";

const FOOT: &str = "\nresource ruleRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {\n  \
    name: guid(rule.id, publisherPrincipalId, publisher)\n  scope: rule\n  properties: {\n    \
    principalId: publisherPrincipalId\n    principalType: 'ServicePrincipal'\n    roleDefinitionId: publisher\n  }\n}\n\n\
    output endpoint string = rule.properties.endpoints.logsIngestion\n\
    output rule string = rule.properties.immutableId\n\
    output workspaceId string = workspace.id\n";

pub(super) fn render() -> String {
    let tables = log_tables();
    let mut text = format!("{MADE}{HEAD}");
    tables.iter().for_each(|one| table(one, &mut text));
    rule(&tables, &mut text);
    text + FOOT
}

fn table(of: &LogTable, text: &mut String) {
    let symbol = symbol("table", of.ops.as_str());
    let name = quoted(&of.table);
    let _ = write!(
        text,
        "\n// ops.{}\nresource {symbol} 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {{\n  \
         parent: workspace\n  name: {name}\n  properties: {{\n    plan: 'Analytics'\n    retentionInDays: retentionDays\n    \
         schema: {{\n      name: {name}\n      columns: [\n",
        of.ops.as_str()
    );
    for column in &of.columns {
        // The same word in other letters: that is how the API of tables has it.
        let kind = if column.kind == LogType::DateTime { "dateTime" } else { column.kind.as_str() };
        let description = quoted(&column.description);
        let _ =
            writeln!(text, "        {{ name: {}, type: '{kind}', description: {description} }}", quoted(&column.name));
    }
    text.push_str("      ]\n    }\n  }\n}\n");
}

fn rule(tables: &[LogTable], text: &mut String) {
    text.push_str(
        "\nresource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {\n  name: name\n  location: location\n  \
         kind: 'Direct'\n  properties: {\n    streamDeclarations: {\n",
    );
    for table in tables {
        let _ = writeln!(text, "      {}: {{\n        columns: [", quoted(&table.stream));
        for column in &table.columns {
            let _ = writeln!(text, "          {{ name: {}, type: '{}' }}", quoted(&column.name), column.kind.as_str());
        }
        text.push_str("        ]\n      }\n");
    }
    text.push_str(
        "    }\n    destinations: {\n      logAnalytics: [\n        {\n          name: 'workspace'\n          \
         workspaceResourceId: workspace.id\n        }\n      ]\n    }\n    dataFlows: [\n",
    );
    for table in tables {
        let _ = writeln!(
            text,
            "      {{\n        streams: [ {} ]\n        destinations: [ 'workspace' ]\n        transformKql: 'source'\n        \
             outputStream: {}\n      }}",
            quoted(&table.stream),
            quoted(&format!("Custom-{}", table.table)),
        );
    }
    text.push_str("    ]\n  }\n  dependsOn: [\n");
    for table in tables {
        let _ = writeln!(text, "    {}", symbol("table", table.ops.as_str()));
    }
    text.push_str("  ]\n}\n");
}
