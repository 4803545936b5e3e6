// PostgreSQL: the control store. Entra alone, no password anywhere. The platform's role in it is made by the administrator (README.md).
@description('Region')
param location string
@description('Name of the server, the same in the whole world')
param name string
@description('Size')
param sku string
@description('Family of the size')
param tier string
@description('Object id of the administrator')
param adminObjectId string
@description('Its name, exactly as Entra writes it')
param adminName string
@description('What it is: Group, User or ServicePrincipal')
param adminType string
@description('Subnet of private endpoints; empty where the server is reached by its public address')
param endpointSubnetId string
@description('Network of that subnet')
param networkId string

var isPrivate = !empty(endpointSubnetId)

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2024-08-01' = {
  name: name
  location: location
  sku: {
    name: sku
    tier: tier
  }
  properties: {
    version: '16'
    storage: {
      storageSizeGB: 32
      autoGrow: 'Enabled'
    }
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: subscription().tenantId
    }
    backup: {
      backupRetentionDays: 14
      geoRedundantBackup: 'Disabled'
    }
    highAvailability: {
      mode: 'Disabled'
    }
    network: {
      publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    }
  }
}

resource admin 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2024-08-01' = {
  parent: server
  name: adminObjectId
  properties: {
    principalName: adminName
    principalType: adminType
    tenantId: subscription().tenantId
  }
}

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2024-08-01' = {
  parent: server
  name: 'vitalake'
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
  dependsOn: [ admin ]
}

// 0.0.0.0 stands for the services of Azure, whoever's they are: a token of Entra is asked for all the same.
resource fromAzure 'Microsoft.DBforPostgreSQL/flexibleServers/firewallRules@2024-08-01' = if (!isPrivate) {
  parent: server
  name: 'services-of-azure'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
  dependsOn: [ database ]
}

module endpoint 'private-endpoint.bicep' = if (isPrivate) {
  name: 'control-endpoint'
  params: {
    location: location
    name: '${name}-endpoint'
    targetId: server.id
    group: 'postgresqlServer'
    zoneName: 'privatelink.postgres.database.azure.com'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

output host string = server.properties.fullyQualifiedDomainName
