// The workspace, Application Insights, whom alerts go to, and the workbook. Tables and rules are in project/.
@description('Region')
param location string
@description('Short name that everything begins with')
param name string
@description('Days that rows are kept')
param retentionDays int
@description('Gigabytes a day after which nothing more is taken')
param dailyGigabytes int
@description('Where alerts go by e-mail')
param alertEmail string
@description('An https address that takes alerts; none where empty')
@secure()
param alertWebhook string
@description('Who sends traces, metrics and logs')
param publisherPrincipalId string

var roles = loadJsonContent('../roles.json')
var publisher = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])
var webhooks = empty(alertWebhook) ? [] : [
  {
    name: 'webhook'
    serviceUri: alertWebhook
    useCommonAlertSchema: true
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: '${name}-logs'
  location: location
  properties: {
    sku: {
      name: 'PerGB2018'
    }
    retentionInDays: retentionDays
    features: {
      enableLogAccessUsingOnlyResourcePermissions: true
    }
    workspaceCapping: {
      dailyQuotaGb: dailyGigabytes
    }
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: '${name}-insights'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    WorkspaceResourceId: workspace.id
    IngestionMode: 'LogAnalytics'
    DisableLocalAuth: true
  }
}

resource insightsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, publisherPrincipalId, publisher)
  scope: insights
  properties: {
    principalId: publisherPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: publisher
  }
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${name}-people'
  location: 'global'
  properties: {
    groupShortName: take(name, 12)
    enabled: true
    emailReceivers: [
      {
        name: 'on call'
        emailAddress: alertEmail
        useCommonAlertSchema: true
      }
    ]
    webhookReceivers: webhooks
  }
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'vitalake-workbook')
  location: location
  kind: 'shared'
  properties: {
    displayName: '${name}: vitalake'
    category: 'workbook'
    sourceId: workspace.id
    serializedData: loadTextContent('../project/workbook.json')
  }
}

output workspaceName string = workspace.name
output workspaceId string = workspace.id
output insightsConnectionString string = insights.properties.ConnectionString
output insightsName string = insights.name
output actionGroupId string = people.id
