// The lake: ADLS Gen2, Entra alone, and nothing that keeps what was removed.
//
// An erasure of a person rewrites files and removes the old ones (docs/erasure). With soft delete, versioning or
// snapshots of blobs they would stay readable for whoever has the account: all are off, and a policy of the organisation that turns one
// on has to be weighed against that. A container that is deleted as a whole can be had back for seven days.
@description('Region')
param location string
@description('Name of the account: lower case letters and digits, the same in the whole world')
param name string
@description('Who writes tables')
param platformPrincipalId string
@description('Subnet of private endpoints; empty where the account is reached by its public address')
param endpointSubnetId string
@description('Network of that subnet')
param networkId string

var roles = loadJsonContent('../roles.json')
var contributor = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
var isPrivate = !empty(endpointSubnetId)

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_ZRS'
  }
  properties: {
    isHnsEnabled: true
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    networkAcls: {
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      bypass: 'None'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: false
    deleteRetentionPolicy: {
      enabled: false
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource lake 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'lake'
  properties: {
    publicAccess: 'None'
  }
}

resource landing 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: 'landing'
  properties: {
    publicAccess: 'None'
  }
}

resource lakeRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(lake.id, platformPrincipalId, contributor)
  scope: lake
  properties: {
    principalId: platformPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: contributor
  }
}

// Feeds read what others put there; nothing is written, moved or deleted where a feed's files lie.
var reader = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Reader'])
resource landingRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(landing.id, platformPrincipalId, reader)
  scope: landing
  properties: {
    principalId: platformPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: reader
  }
}

module files 'private-endpoint.bicep' = if (isPrivate) {
  name: 'storage-dfs'
  params: {
    location: location
    name: '${name}-dfs'
    targetId: account.id
    group: 'dfs'
    zoneName: 'privatelink.dfs.${environment().suffixes.storage}'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

module objects 'private-endpoint.bicep' = if (isPrivate) {
  name: 'storage-blob'
  params: {
    location: location
    name: '${name}-blob'
    targetId: account.id
    group: 'blob'
    zoneName: 'privatelink.blob.${environment().suffixes.storage}'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

output accountName string = account.name
output url string = 'abfss://${lake.name}@${account.name}.dfs.${environment().suffixes.storage}/vitalake'
