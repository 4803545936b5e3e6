// Functions with a custom handler, `vitalake functions`: timers that run feeds, and an address that takes deliveries. They hold nothing: each
// is a call to the platform with a token of its own. In the plan of the platform, so that schedules have a time zone
// (the Consumption and Flex plans of Linux know none).
@description('Region')
param location string
@description('Name of the app, the same in the whole world')
param name string
@description('Name of the account that the Functions host keeps its locks in')
param storageName string
@description('Plan that it runs in')
param planId string
@description('Id of the identity that it has')
param identityId string
@description('Client id of that identity')
param identityClientId string
@description('Principal id of that identity')
param identityPrincipalId string
@description('Where the platform answers')
param platformUrl string
@description('Address of the Key Vault')
param vaultUri string
@description('Time zone of all schedules, as Linux names it')
param timeZone string
@description('Connection string of Application Insights')
param insightsConnectionString string
@description('Name of that Application Insights')
param insightsName string
@description('Workspace that its log goes to')
param workspaceId string
@description('Subnet that it sends from; empty where there is no virtual network')
param subnetId string

var roles = loadJsonContent('../roles.json')
var owner = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
var publisher = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Monitoring Metrics Publisher'])

resource host 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: storageName
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Enabled'
    networkAcls: {
      defaultAction: 'Allow'
      bypass: 'None'
    }
  }
}

// What a host with timers asks for: leases and keys are blobs, and it sets access on them.
resource hostRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(host.id, identityPrincipalId, owner)
  scope: host
  properties: {
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: owner
  }
}

resource timers 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: planId
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      alwaysOn: true
      http20Enabled: true
      ftpsState: 'Disabled'
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      remoteDebuggingEnabled: false
      vnetRouteAllEnabled: !empty(subnetId)
      appSettings: [
        { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
        { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'custom' }
        { name: 'WEBSITE_RUN_FROM_PACKAGE', value: '1' }
        { name: 'WEBSITE_TIME_ZONE', value: timeZone }
        { name: 'AzureWebJobsStorage__accountName', value: host.name }
        { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
        { name: 'AzureWebJobsStorage__clientId', value: identityClientId }
        { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: insightsConnectionString }
        { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'Authorization=AAD;ClientId=${identityClientId}' }
        { name: 'VITALAKE_SERVER', value: platformUrl }
        { name: 'VITALAKE_TOKEN', value: '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/timers-token)' }
      ]
    }
  }
}

resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'functions'
  scope: timers
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'FunctionAppLogs'
        enabled: true
      }
    ]
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource insightsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, identityPrincipalId, publisher)
  scope: insights
  properties: {
    principalId: identityPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: publisher
  }
}
