// Made by `vitalake azure render`: change the project and make it anew, not this file.
// Rules over the tables of the ops datasets, made from alerts/*.yaml and the platform's own alerts.
@description('Region')
param location string
@description('Short name that everything begins with')
param name string
@description('Id of the workspace')
param workspaceId string
@description('Id of the action group')
param actionGroupId string
@description('Where the platform answers: links to runbooks lead there')
param platformUrl string

// compaction_behind: as the platform found it
resource alert_compaction_behind 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-compaction-behind'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: compaction_behind'
    description: '${platformUrl}/runbooks/compaction_behind'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "compaction_behind"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'compaction_behind'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/compaction_behind'
      }
    }
  }
}

// conservation_broken: computed of the ops datasets
resource alert_conservation_broken 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-conservation-broken'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: conservation_broken'
    description: '${platformUrl}/runbooks/conservation_broken'
    severity: 0
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeChecks_CL\n| where Rule == "conservation"\n| summarize arg_max(TimeGenerated, Passed) by Project, Dataset\n| where Passed == false\n| project Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'conservation_broken'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/conservation_broken'
      }
    }
  }
}

// delivery_held: computed of the ops datasets
resource alert_delivery_held 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-delivery-held'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: delivery_held'
    description: '${platformUrl}/runbooks/delivery_held'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeDeliveries_CL\n| where isnotempty(HeldId)\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, HeldId\n| where State == "held"\n| summarize Deliveries = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'delivery_held'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/delivery_held'
      }
    }
  }
}

// disk_full: computed of the ops datasets
resource alert_disk_full 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-disk-full'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: disk_full'
    description: '${platformUrl}/runbooks/disk_full'
    severity: 0
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'VitalakeResources_CL\n| where isnotnull(DiskFreeBytes)\n| summarize Value = max(DiskFreeBytes) by Project, Dataset = Process\n| where Value < 2147483648'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'disk_full'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/disk_full'
      }
    }
  }
}

// feed_late: as the platform found it
resource alert_feed_late 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-feed-late'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: feed_late'
    description: '${platformUrl}/runbooks/feed_late'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "feed_late"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'feed_late'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/feed_late'
      }
    }
  }
}

// gate_held: computed of the ops datasets
resource alert_gate_held 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-gate-held'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: gate_held'
    description: '${platformUrl}/runbooks/gate_held'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeGates_CL\n| where isnotempty(Decision)\n| summarize arg_max(TimeGenerated, Decision) by Project, Dataset\n| where Decision in ("held", "hold")\n| project Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'gate_held'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/gate_held'
      }
    }
  }
}

// landing_lag: computed of the ops datasets
resource alert_landing_lag 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-landing-lag'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: landing_lag'
    description: '${platformUrl}/runbooks/landing_lag'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'VitalakeLag_CL\n| where isnotnull(LagRecords) and Dataset startswith "raw."\n| summarize LagRecords = max(LagRecords) by Project, Dataset, Topic, Partition, Minute = bin(TimeGenerated, 1m)\n| summarize Value = sum(LagRecords) by Project, Dataset, Minute\n| summarize Value = min(Value) by Project, Dataset\n| where Value > 100000'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'landing_lag'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/landing_lag'
      }
    }
  }
}

// poison_records: computed of the ops datasets
resource alert_poison_records 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-poison-records'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: poison_records'
    description: '${platformUrl}/runbooks/poison_records'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT30M'
    criteria: {
      allOf: [
        {
          query: 'VitalakeCommits_CL\n| where Outcome == "done"\n| summarize arg_max(TimeGenerated, Rows, Dataset) by Project, RunId\n| extend Layer = tostring(split(Dataset, ".")[0]), Name = tostring(split(Dataset, ".")[1])\n| where Layer in ("raw", "curated", "quarantine")\n| summarize Rejected = sumif(Rows, Layer == "quarantine"), Accepted = sumif(Rows, Layer != "quarantine"), Dataset = take_anyif(Dataset, Layer != "quarantine") by Project, Name\n| extend Dataset = iff(isempty(Dataset), Name, Dataset)\n| where Rejected > 0.05 * (Rejected + Accepted)\n| project Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'poison_records'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/poison_records'
      }
    }
  }
}

// readings_ahead: as the platform found it
resource alert_readings_ahead 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-readings-ahead'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: readings_ahead of raw.wearable_readings'
    description: '${platformUrl}/runbooks/readings_ahead'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "readings_ahead"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'readings_ahead'
        owner: 'data-platform'
        runbook: '${platformUrl}/runbooks/readings_ahead'
      }
    }
  }
}

// readings_repeated: as the platform found it
resource alert_readings_repeated 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-readings-repeated'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: readings_repeated of raw.wearable_readings'
    description: '${platformUrl}/runbooks/readings_repeated'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "readings_repeated"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'readings_repeated'
        owner: 'data-platform'
        runbook: '${platformUrl}/runbooks/readings_repeated'
      }
    }
  }
}

// readings_silent: computed of the ops datasets
resource alert_readings_silent 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-readings-silent'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: readings_silent of raw.wearable_readings'
    description: '${platformUrl}/runbooks/readings_silent'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: 'let Bounds = datatable(Dataset: string, Seconds: real) ["raw.wearable_readings", 60];\nVitalakeLag_CL\n| where isnotnull(AgeSeconds)\n| summarize arg_max(TimeGenerated, AgeSeconds) by Project, Dataset\n| join kind=inner Bounds on Dataset\n| where AgeSeconds + datetime_diff("second", now(), TimeGenerated) > Seconds + 5 * 60\n| project Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'readings_silent'
        owner: 'data-platform'
        runbook: '${platformUrl}/runbooks/readings_silent'
      }
    }
  }
}

// schema_drift: as the platform found it
resource alert_schema_drift 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-schema-drift'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: schema_drift'
    description: '${platformUrl}/runbooks/schema_drift'
    severity: 2
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "schema_drift"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'schema_drift'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/schema_drift'
      }
    }
  }
}

// store_unreachable: computed of the ops datasets
resource alert_store_unreachable 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-store-unreachable'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: store_unreachable'
    description: '${platformUrl}/runbooks/store_unreachable'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT10M'
    criteria: {
      allOf: [
        {
          query: 'VitalakeResources_CL\n| summarize Samples = count(), Well = countif(isempty(Away)) by Project, Dataset = Process\n| where Samples > 0 and Well == 0\n| project Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'store_unreachable'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/store_unreachable'
      }
    }
  }
}

// visits_late: as the platform found it
resource alert_visits_late 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-visits-late'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: visits_late of raw.clinic_visits'
    description: '${platformUrl}/runbooks/feed_late'
    severity: 1
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'P2D'
    criteria: {
      allOf: [
        {
          query: 'VitalakeAlerts_CL\n| where Alert == "visits_late"\n| summarize arg_max(TimeGenerated, State) by Project, Dataset, Fingerprint\n| where State in ("firing", "acknowledged")\n| summarize Alerts = count() by Project, Dataset'
          timeAggregation: 'Count'
          dimensions: [
            {
              name: 'Project'
              operator: 'Include'
              values: [ '*' ]
            }
            {
              name: 'Dataset'
              operator: 'Include'
              values: [ '*' ]
            }
          ]
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'visits_late'
        owner: 'clinic'
        runbook: '${platformUrl}/runbooks/feed_late'
      }
    }
  }
}

// platform_silent: what Azure alone can tell
resource alert_platform_silent 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-platform-silent'
  location: location
  kind: 'LogAlert'
  properties: {
    displayName: 'vitalake: no platform has sent a sample for a quarter of an hour'
    description: '${platformUrl}/runbooks/store_unreachable'
    severity: 0
    enabled: true
    scopes: [ workspaceId ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: 'VitalakeResources_CL\n| where isnotempty(Process)'
          timeAggregation: 'Count'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    actions: {
      actionGroups: [ actionGroupId ]
      customProperties: {
        alert: 'platform_silent'
        owner: 'platform'
        runbook: '${platformUrl}/runbooks/store_unreachable'
      }
    }
  }
}
