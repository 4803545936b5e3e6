// Who an application is: an identity of its own, so that each has the roles that it needs and no other.
@description('Region')
param location string
@description('Name; the platform has it as its user in PostgreSQL')
param name string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
}

output id string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
