// The platform on App Service: one container, whose disk is neither kept nor synced. Everything that is to stay is elsewhere: records
// in Event Hubs, tables in the storage account, the control store in PostgreSQL. It refuses to start where that is not so.
@description('Region')
param location string
@description('Name of the web app, the same in the whole world')
param name string
@description('Name of the plan')
param planName string
@description('Size of the plan')
param planSku string
@description('The image, with its registry and tag')
param image string
@description('Id of the identity that it has')
param identityId string
@description('Client id of that identity')
param identityClientId string
@description('Name of that identity, which is its user in PostgreSQL')
param identityName string
@description('Where tables lie')
param storageUrl string
@description('Name of that storage account')
param accountName string
@description('Host of the Event Hubs namespace')
param hubsHost string
@description('Host of PostgreSQL')
param controlHost string
@description('Where rows of the ops datasets go')
param logsEndpoint string
@description('Immutable id of the rule that takes them')
param logsRule string
@description('Connection string of Application Insights')
param insightsConnectionString string
@description('Workspace that the log of the container goes to')
param workspaceId string
@description('Address of the Key Vault')
param vaultUri string
@description('Subnet that it sends from; empty where there is no virtual network')
param subnetId string

// librdkafka's own properties; the token is the identity's, asked for by the platform itself.
var kafkaProperties = {
  'security.protocol': 'SASL_SSL'
  'sasl.mechanism': 'OAUTHBEARER'
  'sasl.oauthbearer.method': 'oidc'
  'sasl.oauthbearer.metadata.authentication.type': 'azure'
  'sasl.oauthbearer.scope': 'https://${hubsHost}/.default'
  'socket.keepalive.enable': 'true'
  'metadata.max.age.ms': '180000'
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  kind: 'linux'
  sku: {
    name: planSku
    // One process with the role `all` on a lake: a second instance would take its commits.
    capacity: 1
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  kind: 'app,linux,container'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      linuxFxVersion: 'DOCKER|${image}'
      acrUseManagedIdentityCreds: true
      acrUserManagedIdentityID: identityClientId
      alwaysOn: true
      http20Enabled: true
      ftpsState: 'Disabled'
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      remoteDebuggingEnabled: false
      vnetRouteAllEnabled: !empty(subnetId)
      healthCheckPath: '/health/ready'
      appSettings: [
        { name: 'WEBSITES_PORT', value: '8888' }
        { name: 'WEBSITES_ENABLE_APP_SERVICE_STORAGE', value: 'false' }
        { name: 'WEBSITES_CONTAINER_START_TIME_LIMIT', value: '600' }
        { name: 'WEBSITES_CONTAINER_STOP_TIME_LIMIT', value: '30' }
        { name: 'WEBSITE_DISABLE_OVERLAPPED_RECYCLING', value: '1' }
        { name: 'AZURE_CLIENT_ID', value: identityClientId }
        { name: 'AZURE_STORAGE_ACCOUNT_NAME', value: accountName }
        { name: 'VITALAKE_HTTP__LISTEN', value: '0.0.0.0:8888' }
        { name: 'VITALAKE_HTTP__BEHIND_PROXY', value: 'true' }
        { name: 'VITALAKE_HTTP__PUBLIC_URL', value: 'https://${name}.azurewebsites.net' }
        { name: 'VITALAKE_STORAGE__URL', value: storageUrl }
        { name: 'VITALAKE_STORAGE__CACHE_BYTES_MAX', value: '5368709120' }
        { name: 'VITALAKE_KAFKA__BOOTSTRAP', value: '${hubsHost}:9093' }
        { name: 'VITALAKE_KAFKA__CREATE_TOPICS', value: 'false' }
        { name: 'VITALAKE_KAFKA__PROPERTIES', value: string(kafkaProperties) }
        { name: 'VITALAKE_CONTROL__URL', value: 'postgres://${identityName}@${controlHost}:5432/vitalake?sslmode=verify-full' }
        { name: 'VITALAKE_CONTROL__AZURE_IDENTITY', value: 'true' }
        { name: 'VITALAKE_AZURE__MONITOR__ENDPOINT', value: logsEndpoint }
        { name: 'VITALAKE_AZURE__MONITOR__RULE', value: logsRule }
        { name: 'VITALAKE_TELEMETRY__APPLICATION_INSIGHTS', value: insightsConnectionString }
        { name: 'VITALAKE_TELEMETRY__AZURE_IDENTITY', value: 'true' }
        { name: 'VITALAKE_LOG_FORMAT', value: 'json' }
        { name: 'VITALAKE_MASK_KEY', value: '@Microsoft.KeyVault(SecretUri=${vaultUri}secrets/mask-key)' }
      ]
    }
  }
}

// What the container says, and what App Service does with it. Its own log of requests is left out: addresses may name people.
resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'container'
  scope: site
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AppServiceConsoleLogs'
        enabled: true
      }
      {
        category: 'AppServicePlatformLogs'
        enabled: true
      }
    ]
  }
}

output planId string = plan.id
output id string = site.id
