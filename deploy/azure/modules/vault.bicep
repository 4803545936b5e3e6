// Secrets that people write and applications read: the mask key, and the token with which timers come in.
@description('Region')
param location string
@description('Name, the same in the whole world')
param name string
@description('Who reads secrets')
param readerPrincipalIds array
@description('Subnet of private endpoints; empty where the vault is reached by its public address')
param endpointSubnetId string
@description('Network of that subnet')
param networkId string

var roles = loadJsonContent('../roles.json')
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Secrets User'])
var isPrivate = !empty(endpointSubnetId)

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enablePurgeProtection: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      bypass: 'AzureServices'
    }
  }
}

resource readerRoles 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principalId in readerPrincipalIds: {
  name: guid(vault.id, principalId, reader)
  scope: vault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: reader
  }
}]

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'vault-endpoint'
  params: {
    location: location
    name: '${name}-vault'
    targetId: vault.id
    group: 'vault'
    zoneName: 'privatelink.vaultcore.azure.net'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

output name string = vault.name
output uri string = vault.properties.vaultUri
