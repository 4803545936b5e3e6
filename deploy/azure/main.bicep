// vitalake in a resource group: lake, broker, control store, telemetry, the platform itself, its timers and its console.
// README.md beside says in which order; `az deployment group what-if` shows what would be made.
targetScope = 'resourceGroup'

@description('Region of everything')
param location string = resourceGroup().location

@description('Short name that everything begins with: lower case letters and digits')
@minLength(3)
@maxLength(11)
param name string

@description('Tag of the image in the registry that is made here, such as 0.1.0. Empty at the first deployment, while there is no registry to push to: everything but what runs the image is made')
param imageTag string = ''

@description('Object id of the Entra group (or person) that administers PostgreSQL')
param pgAdminObjectId string

@description('Name of that group or person, exactly as Entra writes it')
param pgAdminName string

@description('What it is')
@allowed([ 'Group', 'User', 'ServicePrincipal' ])
param pgAdminType string = 'Group'

@description('Where alerts go by e-mail')
param alertEmail string

@description('An https address that takes alerts in the common alert schema, such as a workflow of Teams; none where empty')
@secure()
param alertWebhook string = ''

@description('Whether storage, Event Hubs, PostgreSQL, Key Vault and the registry are reached through private endpoints alone. Choose before the first deployment')
param privateNetworking bool = false

@description('Address space of the virtual network; used with privateNetworking or kafkaEndpoint, as are the three below, which lie in it')
param addressPrefix string = '10.60.0.0/20'

@description('Subnet of what the web app sends, a /26 or larger')
param appPrefix string = '10.60.0.0/26'

@description('Subnet of private endpoints')
param endpointPrefix string = '10.60.0.64/26'

@description('Subnet of Container Apps, a /23 or larger')
param kafkaPrefix string = '10.60.2.0/23'

@description('Size of the App Service plan; one that has virtual networks and slots')
param planSku string = 'P1v3'

@description('Size of PostgreSQL')
param pgSku string = 'Standard_B1ms'

@description('Family of that size')
@allowed([ 'Burstable', 'GeneralPurpose', 'MemoryOptimized' ])
param pgTier string = 'Burstable'

@description('Throughput units of Event Hubs to begin with; it grows by itself to hubsCapacityMax')
@minValue(1)
@maxValue(40)
param hubsCapacity int = 1

@description('The most throughput units')
@minValue(1)
@maxValue(40)
param hubsCapacityMax int = 4

@description('Days that the workspace keeps rows')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Gigabytes a day after which the workspace takes nothing more until the next day')
@minValue(1)
param logDailyGigabytes int = 1

@description('Time zone of the schedules of feeds, as Linux names it: one for all timers')
param timeZone string = loadJsonContent('project/settings.json').timeZone

@description('Whether timers and the delivery function are made in the plan of the platform')
param functions bool = true

@description('Whether the console is also served as a Static Web App. Linking turns authentication by App Service on: nothing else then reaches the platform at its own address')
param console bool = false

@description('Region of the Static Web App: there are few')
param consoleLocation string = 'westeurope'

@description('Whether the platform runs on Container Apps with a Kafka endpoint of its own, in place of App Service with Event Hubs')
param kafkaEndpoint bool = false

@description('Address of the Key Vault secret with the PEM certificate of that endpoint; needed with it')
param kafkaCertificateSecretUri string = ''

@description('Address of the Key Vault secret with its PEM key; needed with it')
param kafkaKeySecretUri string = ''

var suffix = uniqueString(resourceGroup().id)
var hasImage = !empty(imageTag)
var hasNetwork = privateNetworking || kafkaEndpoint

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    location: location
    name: '${name}-id'
  }
}

module callerIdentity 'modules/identity.bicep' = {
  name: 'caller-identity'
  params: {
    location: location
    name: '${name}-timers-id'
  }
}

module network 'modules/network.bicep' = if (hasNetwork) {
  name: 'network'
  params: {
    location: location
    name: name
    addressPrefix: addressPrefix
    appPrefix: appPrefix
    endpointPrefix: endpointPrefix
    kafkaPrefix: kafkaPrefix
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    location: location
    name: 'vl${suffix}'
    platformPrincipalId: identity.outputs.principalId
    endpointSubnetId: privateNetworking ? network.outputs.endpointSubnetId : ''
    networkId: privateNetworking ? network.outputs.networkId : ''
  }
}

module broker 'modules/broker.bicep' = {
  name: 'broker'
  params: {
    location: location
    name: '${name}-hubs-${suffix}'
    capacity: hubsCapacity
    capacityMax: hubsCapacityMax
    platformPrincipalId: identity.outputs.principalId
    endpointSubnetId: privateNetworking ? network.outputs.endpointSubnetId : ''
    networkId: privateNetworking ? network.outputs.networkId : ''
  }
}

module hubs 'project/hubs.bicep' = {
  name: 'hubs'
  params: {
    namespaceName: broker.outputs.name
  }
}

module control 'modules/control.bicep' = {
  name: 'control'
  params: {
    location: location
    name: '${name}-pg-${suffix}'
    sku: pgSku
    tier: pgTier
    adminObjectId: pgAdminObjectId
    adminName: pgAdminName
    adminType: pgAdminType
    endpointSubnetId: privateNetworking ? network.outputs.endpointSubnetId : ''
    networkId: privateNetworking ? network.outputs.networkId : ''
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  params: {
    location: location
    name: 'vl${suffix}'
    readerPrincipalIds: [
      identity.outputs.principalId
      callerIdentity.outputs.principalId
    ]
    endpointSubnetId: privateNetworking ? network.outputs.endpointSubnetId : ''
    networkId: privateNetworking ? network.outputs.networkId : ''
  }
}

module telemetry 'modules/telemetry.bicep' = {
  name: 'telemetry'
  params: {
    location: location
    name: name
    retentionDays: logRetentionDays
    dailyGigabytes: logDailyGigabytes
    alertEmail: alertEmail
    alertWebhook: alertWebhook
    publisherPrincipalId: identity.outputs.principalId
  }
}

module logs 'project/logs.bicep' = {
  name: 'logs'
  params: {
    location: location
    name: '${name}-ops'
    workspaceName: telemetry.outputs.workspaceName
    retentionDays: logRetentionDays
    publisherPrincipalId: identity.outputs.principalId
  }
}

module alerts 'project/alerts.bicep' = {
  name: 'alerts'
  params: {
    location: location
    name: name
    workspaceId: logs.outputs.workspaceId
    actionGroupId: telemetry.outputs.actionGroupId
    platformUrl: 'https://${name}-${suffix}.azurewebsites.net'
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  params: {
    location: location
    name: 'vl${suffix}'
    pullerPrincipalIds: [
      identity.outputs.principalId
      callerIdentity.outputs.principalId
    ]
    endpointSubnetId: privateNetworking ? network.outputs.endpointSubnetId : ''
    networkId: privateNetworking ? network.outputs.networkId : ''
  }
}

module platform 'modules/platform.bicep' = if (hasImage && !kafkaEndpoint) {
  name: 'platform'
  params: {
    location: location
    name: '${name}-${suffix}'
    planName: '${name}-plan'
    planSku: planSku
    image: '${registry.outputs.server}/vitalake:${imageTag}'
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    identityName: '${name}-id'
    storageUrl: storage.outputs.url
    accountName: storage.outputs.accountName
    hubsHost: broker.outputs.host
    controlHost: control.outputs.host
    logsEndpoint: logs.outputs.endpoint
    logsRule: logs.outputs.rule
    insightsConnectionString: telemetry.outputs.insightsConnectionString
    workspaceId: telemetry.outputs.workspaceId
    vaultUri: vault.outputs.uri
    subnetId: privateNetworking ? network.outputs.appSubnetId : ''
  }
}

module kafka 'modules/kafka.bicep' = if (hasImage && kafkaEndpoint) {
  name: 'kafka'
  params: {
    location: location
    name: '${name}-kafka'
    image: '${registry.outputs.server}/vitalake:${imageTag}'
    registryServer: registry.outputs.server
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    identityName: '${name}-id'
    storageUrl: storage.outputs.url
    accountName: storage.outputs.accountName
    logStorageName: 'vlk${take(suffix, 10)}'
    controlHost: control.outputs.host
    logsEndpoint: logs.outputs.endpoint
    logsRule: logs.outputs.rule
    insightsConnectionString: telemetry.outputs.insightsConnectionString
    vaultUri: vault.outputs.uri
    subnetId: network.outputs.kafkaSubnetId
    endpointSubnetId: network.outputs.endpointSubnetId
    networkId: network.outputs.networkId
    certificateSecretUri: kafkaCertificateSecretUri
    keySecretUri: kafkaKeySecretUri
  }
}

module timers 'modules/timers.bicep' = if (hasImage && !kafkaEndpoint && functions) {
  name: 'timers'
  params: {
    location: location
    name: '${name}-timers-${suffix}'
    storageName: 'vlt${take(suffix, 10)}'
    planId: platform.outputs.planId
    identityId: callerIdentity.outputs.id
    identityClientId: callerIdentity.outputs.clientId
    identityPrincipalId: callerIdentity.outputs.principalId
    platformUrl: 'https://${name}-${suffix}.azurewebsites.net'
    vaultUri: vault.outputs.uri
    timeZone: timeZone
    insightsConnectionString: telemetry.outputs.insightsConnectionString
    insightsName: telemetry.outputs.insightsName
    workspaceId: telemetry.outputs.workspaceId
    subnetId: privateNetworking ? network.outputs.appSubnetId : ''
  }
}

module site 'modules/console.bicep' = if (hasImage && !kafkaEndpoint && console) {
  name: 'console'
  params: {
    location: consoleLocation
    name: '${name}-console'
    platformId: platform.outputs.id
    platformLocation: location
  }
}

@description('Where the platform answers, once the image runs')
output url string = hasImage && kafkaEndpoint ? kafka.outputs.url : 'https://${name}-${suffix}.azurewebsites.net'
@description('Name of the web app')
output webApp string = '${name}-${suffix}'
@description('Name of the Functions app')
output timersApp string = '${name}-timers-${suffix}'
@description('Name of the registry that the image is pushed to')
output registry string = registry.outputs.name
@description('Address of that registry')
output registryServer string = registry.outputs.server
@description('Name of the Key Vault that secrets are written to')
output vault string = vault.outputs.name
@description('Where the tables lie')
output storageUrl string = storage.outputs.url
@description('Kafka address of the namespace')
output kafkaBootstrap string = hasImage && kafkaEndpoint ? kafka.outputs.kafka : '${broker.outputs.host}:9093'
@description('Host of PostgreSQL')
output controlHost string = control.outputs.host
@description('Name of the identity that the platform has, which is its user in PostgreSQL')
output identityName string = '${name}-id'
@description('Client id of that identity')
output identityClientId string = identity.outputs.clientId
@description('Where rows of the ops datasets are sent to')
output logsEndpoint string = logs.outputs.endpoint
@description('Immutable id of the data collection rule')
output logsRule string = logs.outputs.rule
@description('Name of the workspace')
output workspace string = telemetry.outputs.workspaceName
@description('Name of the Static Web App, where there is one')
output consoleName string = '${name}-console'
