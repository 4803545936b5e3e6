// Made by `vitalake azure render`: change the project and make it anew, not this file.
// The ops datasets as tables, and the rule whose streams take their rows.
@description('Region')
param location string
@description('Name of the rule')
param name string
@description('Name of the workspace')
param workspaceName string
@description('Days that rows are kept')
param retentionDays int
@description('Who sends rows')
param publisherPrincipalId string

var roles = loadJsonContent('../roles.json')
var publisher = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = {
  name: workspaceName
}

// ops.runs
resource table_runs 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeRuns_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeRuns_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Outcome', type: 'string', description: '`done`, `retried` or `failed`.' }
        { name: 'Error', type: 'string', description: 'Why it did not come to its end: `user`, `external` or `internal`.' }
        { name: 'Runs', type: 'long', description: 'How many runs ended so in that second.' }
        { name: 'RowsIn', type: 'long', description: 'Rows of the input.' }
        { name: 'RowsOut', type: 'long', description: 'Rows added, or groups merged.' }
        { name: 'TookMs', type: 'real', description: 'Time that they took together, in milliseconds.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.commits
resource table_commits 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeCommits_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeCommits_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Outcome', type: 'string', description: '`done`, `retried` or `failed`.' }
        { name: 'Error', type: 'string', description: 'Why it did not take place: `user`, `external` or `internal`.' }
        { name: 'Version', type: 'long', description: 'The version that it made.' }
        { name: 'Rows', type: 'long', description: 'Rows of the files that it added.' }
        { name: 'TookMs', type: 'real', description: 'Time that it took, in milliseconds.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.checks
resource table_checks 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeChecks_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeChecks_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Rule', type: 'string', description: 'The name of the rule.' }
        { name: 'Severity', type: 'string', description: '`warning`, `error` or `fatal`.' }
        { name: 'Scope', type: 'string', description: 'What was looked at: `rows`, `table`, `delivery 7`, `window 2026-11-28`, `commit 12`.' }
        { name: 'Rows', type: 'long', description: 'Rows that broke a rule on single rows, summed up for each second.' }
        { name: 'Got', type: 'real', description: 'What was found.' }
        { name: 'Want', type: 'string', description: 'What the rule wants, in words.' }
        { name: 'Passed', type: 'boolean', description: 'Whether it holds; null where it could not be computed.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.gates
resource table_gates 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeGates_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeGates_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Decision', type: 'string', description: '`passed`, `held` or `stale` by the gate; `hold` or `release` by a person.' }
        { name: 'Version', type: 'long', description: 'The version that was published.' }
        { name: 'Reasons', type: 'string', description: 'The rules that did not pass, as JSON.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.deliveries
resource table_deliveries 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeDeliveries_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeDeliveries_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Outcome', type: 'string', description: '`done` or `failed`.' }
        { name: 'Delivery', type: 'long', description: 'Its number in the dataset.' }
        { name: 'Accepted', type: 'long', description: 'Rows that entered the dataset; of a file that is held, rows that would.' }
        { name: 'Quarantined', type: 'long', description: 'Rows that went to quarantine; of a file that is held, rows that would.' }
        { name: 'TookMs', type: 'real', description: 'From the first byte, or from the decision, to the answer, in milliseconds.' }
        { name: 'State', type: 'string', description: 'Where it stands now: `loaded`, `known`, `held`, `released`, `rejected`, `superseded` or `refused`.' }
        { name: 'HeldId', type: 'string', description: 'What it is or was held as.' }
        { name: 'Feed', type: 'string', description: 'The feed that brought it; none of an upload.' }
        { name: 'BusinessDate', type: 'string', description: 'The day that it stands for.' }
        { name: 'Corrects', type: 'long', description: 'The delivery of the same day whose rows it took the place of.' }
        { name: 'Offered', type: 'long', description: 'Records in it; none where it was not read to its end.' }
        { name: 'Duplicate', type: 'long', description: 'Records that were there already: all of a file that is known.' }
        { name: 'Since', type: 'dateTime', description: 'When it began to come.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.alerts
resource table_alerts 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeAlerts_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeAlerts_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Fingerprint', type: 'string', description: 'Tells this alert from others, the same over restarts.' }
        { name: 'Alert', type: 'string', description: 'The name of the alert.' }
        { name: 'Dataset', type: 'string', description: 'The dataset that it is about, as `layer.name`.' }
        { name: 'State', type: 'string', description: 'The state that it is in from now on.' }
        { name: 'Severity', type: 'string', description: 'How bad it is.' }
        { name: 'Owner', type: 'string', description: 'The team that it goes to.' }
        { name: 'Summary', type: 'string', description: 'What was found, in words and counts.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.discards
resource table_discards 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeDiscards_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeDiscards_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Rows', type: 'long', description: 'How many.' }
        { name: 'Number', type: 'long', description: 'The number of the last commit of quarantine that they left with.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.lag
resource table_lag 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeLag_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeLag_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'Dataset', type: 'string', description: 'The dataset, as `layer.name`.' }
        { name: 'Topic', type: 'string', description: 'The topic, of a stream.' }
        { name: 'Partition', type: 'long', description: 'The partition, of a stream.' }
        { name: 'LagRecords', type: 'long', description: 'Records or changes of the input that are not in the dataset yet.' }
        { name: 'AgeSeconds', type: 'real', description: 'Age of the newest row of the dataset.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

// ops.resources
resource table_resources 'Microsoft.OperationalInsights/workspaces/tables@2025-02-01' = {
  parent: workspace
  name: 'VitalakeResources_CL'
  properties: {
    plan: 'Analytics'
    retentionInDays: retentionDays
    schema: {
      name: 'VitalakeResources_CL'
      columns: [
        { name: 'TimeGenerated', type: 'dateTime', description: 'When it was recorded.' }
        { name: 'RunId', type: 'string', description: 'Tells the row from others, the same when it is sent again.' }
        { name: 'Project', type: 'string', description: 'The project\'s name.' }
        { name: 'MemoryBytes', type: 'long', description: 'Resident memory.' }
        { name: 'CpuSeconds', type: 'real', description: 'Time on processors since the process began.' }
        { name: 'DiskFreeBytes', type: 'long', description: 'Free bytes on the disk of the data folder.' }
        { name: 'TailBytes', type: 'long', description: 'Rows in memory that are in no file yet, in bytes.' }
        { name: 'Away', type: 'string', description: 'Parts outside the process that do not answer now, separated by commas.' }
        { name: 'EventsDropped', type: 'long', description: 'Events that came faster than they were read, since the process began.' }
        { name: 'RowsDropped', type: 'long', description: 'Rows of the ops datasets that could not be kept, since the process began.' }
        { name: 'Process', type: 'string', description: 'The process that says so, by an id that it has from its start to its end.' }
      ]
    }
  }
}

resource rule 'Microsoft.Insights/dataCollectionRules@2024-03-11' = {
  name: name
  location: location
  kind: 'Direct'
  properties: {
    streamDeclarations: {
      'Custom-VitalakeRuns': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Outcome', type: 'string' }
          { name: 'Error', type: 'string' }
          { name: 'Runs', type: 'long' }
          { name: 'RowsIn', type: 'long' }
          { name: 'RowsOut', type: 'long' }
          { name: 'TookMs', type: 'real' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeCommits': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Outcome', type: 'string' }
          { name: 'Error', type: 'string' }
          { name: 'Version', type: 'long' }
          { name: 'Rows', type: 'long' }
          { name: 'TookMs', type: 'real' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeChecks': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Rule', type: 'string' }
          { name: 'Severity', type: 'string' }
          { name: 'Scope', type: 'string' }
          { name: 'Rows', type: 'long' }
          { name: 'Got', type: 'real' }
          { name: 'Want', type: 'string' }
          { name: 'Passed', type: 'boolean' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeGates': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Decision', type: 'string' }
          { name: 'Version', type: 'long' }
          { name: 'Reasons', type: 'string' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeDeliveries': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Outcome', type: 'string' }
          { name: 'Delivery', type: 'long' }
          { name: 'Accepted', type: 'long' }
          { name: 'Quarantined', type: 'long' }
          { name: 'TookMs', type: 'real' }
          { name: 'State', type: 'string' }
          { name: 'HeldId', type: 'string' }
          { name: 'Feed', type: 'string' }
          { name: 'BusinessDate', type: 'string' }
          { name: 'Corrects', type: 'long' }
          { name: 'Offered', type: 'long' }
          { name: 'Duplicate', type: 'long' }
          { name: 'Since', type: 'datetime' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeAlerts': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Fingerprint', type: 'string' }
          { name: 'Alert', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'State', type: 'string' }
          { name: 'Severity', type: 'string' }
          { name: 'Owner', type: 'string' }
          { name: 'Summary', type: 'string' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeDiscards': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Rows', type: 'long' }
          { name: 'Number', type: 'long' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeLag': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'Dataset', type: 'string' }
          { name: 'Topic', type: 'string' }
          { name: 'Partition', type: 'long' }
          { name: 'LagRecords', type: 'long' }
          { name: 'AgeSeconds', type: 'real' }
          { name: 'Process', type: 'string' }
        ]
      }
      'Custom-VitalakeResources': {
        columns: [
          { name: 'TimeGenerated', type: 'datetime' }
          { name: 'RunId', type: 'string' }
          { name: 'Project', type: 'string' }
          { name: 'MemoryBytes', type: 'long' }
          { name: 'CpuSeconds', type: 'real' }
          { name: 'DiskFreeBytes', type: 'long' }
          { name: 'TailBytes', type: 'long' }
          { name: 'Away', type: 'string' }
          { name: 'EventsDropped', type: 'long' }
          { name: 'RowsDropped', type: 'long' }
          { name: 'Process', type: 'string' }
        ]
      }
    }
    destinations: {
      logAnalytics: [
        {
          name: 'workspace'
          workspaceResourceId: workspace.id
        }
      ]
    }
    dataFlows: [
      {
        streams: [ 'Custom-VitalakeRuns' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeRuns_CL'
      }
      {
        streams: [ 'Custom-VitalakeCommits' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeCommits_CL'
      }
      {
        streams: [ 'Custom-VitalakeChecks' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeChecks_CL'
      }
      {
        streams: [ 'Custom-VitalakeGates' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeGates_CL'
      }
      {
        streams: [ 'Custom-VitalakeDeliveries' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeDeliveries_CL'
      }
      {
        streams: [ 'Custom-VitalakeAlerts' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeAlerts_CL'
      }
      {
        streams: [ 'Custom-VitalakeDiscards' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeDiscards_CL'
      }
      {
        streams: [ 'Custom-VitalakeLag' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeLag_CL'
      }
      {
        streams: [ 'Custom-VitalakeResources' ]
        destinations: [ 'workspace' ]
        transformKql: 'source'
        outputStream: 'Custom-VitalakeResources_CL'
      }
    ]
  }
  dependsOn: [
    table_runs
    table_commits
    table_checks
    table_gates
    table_deliveries
    table_alerts
    table_discards
    table_lag
    table_resources
  ]
}

resource ruleRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(rule.id, publisherPrincipalId, publisher)
  scope: rule
  properties: {
    principalId: publisherPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: publisher
  }
}

output endpoint string = rule.properties.endpoints.logsIngestion
output rule string = rule.properties.immutableId
output workspaceId string = workspace.id
