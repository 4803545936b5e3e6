// The console as a Static Web App, with the platform linked behind /api. Linking turns authentication by App Service on, which lets in nobody but
// this console at the platform's own address: choose it only where nothing else calls the platform there. Without it the
// console is in the platform itself, at its address.
@description('Region: one that has Static Web Apps')
param location string
@description('Name')
param name string
@description('Id of the web app behind /api')
param platformId string
@description('Region of that web app')
param platformLocation string

resource site 'Microsoft.Web/staticSites@2024-11-01' = {
  name: name
  location: location
  sku: {
    name: 'Standard'
    tier: 'Standard'
  }
  properties: {
    stagingEnvironmentPolicy: 'Disabled'
    allowConfigFileUpdates: true
  }
}

resource backend 'Microsoft.Web/staticSites/linkedBackends@2024-11-01' = {
  parent: site
  name: 'platform'
  properties: {
    backendResourceId: platformId
    region: platformLocation
  }
}

output url string = 'https://${site.properties.defaultHostname}'
