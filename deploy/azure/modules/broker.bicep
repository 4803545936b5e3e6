// Event Hubs, which speaks Kafka: the way in for devices and collectors. Its hubs are in project/hubs.bicep.
@description('Region')
param location string
@description('Name of the namespace, the same in the whole world')
param name string
@description('Throughput units to begin with')
param capacity int
@description('The most throughput units')
param capacityMax int
@description('Who reads records')
param platformPrincipalId string
@description('Subnet of private endpoints; empty where the namespace is reached by its public address')
param endpointSubnetId string
@description('Network of that subnet')
param networkId string

var roles = loadJsonContent('../roles.json')
var receiver = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Azure Event Hubs Data Receiver'])
var isPrivate = !empty(endpointSubnetId)

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: capacity
  }
  properties: {
    kafkaEnabled: true
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    isAutoInflateEnabled: true
    maximumThroughputUnits: capacityMax
    zoneRedundant: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource receiverRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(namespace.id, platformPrincipalId, receiver)
  scope: namespace
  properties: {
    principalId: platformPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: receiver
  }
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'broker-endpoint'
  params: {
    location: location
    name: '${name}-kafka'
    targetId: namespace.id
    group: 'namespace'
    zoneName: 'privatelink.servicebus.windows.net'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

output name string = namespace.name
output host string = '${namespace.name}.servicebus.windows.net'
