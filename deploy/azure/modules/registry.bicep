// The registry of the image. Private endpoints need the size Premium.
@description('Region')
param location string
@description('Name: letters and digits, the same in the whole world')
param name string
@description('Who pulls')
param pullerPrincipalIds array
@description('Subnet of private endpoints; empty where the registry is reached by its public address')
param endpointSubnetId string
@description('Network of that subnet')
param networkId string

var roles = loadJsonContent('../roles.json')
var puller = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['AcrPull'])
var isPrivate = !empty(endpointSubnetId)

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  name: name
  location: location
  sku: {
    name: isPrivate ? 'Premium' : 'Basic'
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource pullerRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principalId in pullerPrincipalIds: {
  name: guid(registry.id, principalId, puller)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: puller
  }
}]

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'registry-endpoint'
  params: {
    location: location
    name: '${name}-registry'
    targetId: registry.id
    group: 'registry'
    zoneName: 'privatelink.azurecr.io'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

output name string = registry.name
output server string = registry.properties.loginServer
