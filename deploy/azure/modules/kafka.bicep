// The platform on Container Apps, in place of App Service: with a Kafka endpoint of its own, by TCP. Its log lies on an NFS share, because the disk of a
// container is lost with it. One replica: the log has one owner.
@description('Region')
param location string
@description('Name of the app')
param name string
@description('The image, with its registry and tag')
param image string
@description('Address of that registry')
param registryServer string
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
@description('Name of the account of the share that the log lies on')
param logStorageName string
@description('Host of PostgreSQL')
param controlHost string
@description('Where rows of the ops datasets go')
param logsEndpoint string
@description('Immutable id of the rule that takes them')
param logsRule string
@description('Connection string of Application Insights')
param insightsConnectionString string
@description('Address of the Key Vault')
param vaultUri string
@description('Subnet of the environment')
param subnetId string
@description('Subnet of the private endpoint of the share')
param endpointSubnetId string
@description('Network of these subnets')
param networkId string
@description('Address of the secret with the certificate, in PEM')
param certificateSecretUri string
@description('Address of the secret with its key, in PEM')
param keySecretUri string

resource files 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: logStorageName
  location: location
  kind: 'FileStorage'
  sku: {
    name: 'Premium_ZRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    allowCrossTenantReplication: false
    minimumTlsVersion: 'TLS1_2'
    // NFS 4.1 is not encrypted by the service itself: it is reached inside the virtual network alone.
    supportsHttpsTrafficOnly: false
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'None'
    }
  }
}

resource fileService 'Microsoft.Storage/storageAccounts/fileServices@2024-01-01' = {
  parent: files
  name: 'default'
}

resource share 'Microsoft.Storage/storageAccounts/fileServices/shares@2024-01-01' = {
  parent: fileService
  name: 'data'
  properties: {
    enabledProtocols: 'NFS'
    rootSquash: 'NoRootSquash'
    shareQuota: 128
  }
}

module shareEndpoint 'private-endpoint.bicep' = {
  name: 'kafka-share'
  params: {
    location: location
    name: '${logStorageName}-file'
    targetId: files.id
    group: 'file'
    zoneName: 'privatelink.file.${environment().suffixes.storage}'
    subnetId: endpointSubnetId
    networkId: networkId
  }
}

resource apps 'Microsoft.App/managedEnvironments@2025-01-01' = {
  name: '${name}-env'
  location: location
  properties: {
    vnetConfiguration: {
      infrastructureSubnetId: subnetId
      internal: false
    }
    workloadProfiles: [
      {
        name: 'Consumption'
        workloadProfileType: 'Consumption'
      }
    ]
    appLogsConfiguration: {
      destination: 'azure-monitor'
    }
  }
}

resource data 'Microsoft.App/managedEnvironments/storages@2025-01-01' = {
  parent: apps
  name: 'data'
  properties: {
    nfsAzureFile: {
      server: '${files.name}.file.${environment().suffixes.storage}'
      shareName: '/${files.name}/${share.name}'
      accessMode: 'ReadWrite'
    }
  }
}

resource app 'Microsoft.App/containerApps@2025-01-01' = {
  name: name
  location: location
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: apps.id
    workloadProfileName: 'Consumption'
    configuration: {
      activeRevisionsMode: 'Single'
      ingress: {
        external: true
        allowInsecure: false
        transport: 'http'
        targetPort: 8888
        additionalPortMappings: [
          {
            external: true
            targetPort: 9092
            exposedPort: 9092
          }
        ]
      }
      registries: [
        {
          server: registryServer
          identity: identityId
        }
      ]
      secrets: [
        {
          name: 'certificate'
          keyVaultUrl: certificateSecretUri
          identity: identityId
        }
        {
          name: 'key'
          keyVaultUrl: keySecretUri
          identity: identityId
        }
        {
          name: 'mask-key'
          keyVaultUrl: '${vaultUri}secrets/mask-key'
          identity: identityId
        }
      ]
    }
    template: {
      terminationGracePeriodSeconds: 60
      containers: [
        {
          name: 'vitalake'
          image: image
          resources: {
            cpu: 2
            memory: '4Gi'
          }
          env: [
            { name: 'AZURE_CLIENT_ID', value: identityClientId }
            { name: 'AZURE_STORAGE_ACCOUNT_NAME', value: accountName }
            { name: 'VITALAKE_HTTP__LISTEN', value: '0.0.0.0:8888' }
            { name: 'VITALAKE_HTTP__BEHIND_PROXY', value: 'true' }
            { name: 'VITALAKE_KAFKA__LISTEN', value: '0.0.0.0:9092' }
            { name: 'VITALAKE_KAFKA__TLS__CERTIFICATE', value: '/tls/certificate' }
            { name: 'VITALAKE_KAFKA__TLS__KEY', value: '/tls/key' }
            { name: 'VITALAKE_STORAGE__URL', value: storageUrl }
            { name: 'VITALAKE_CONTROL__URL', value: 'postgres://${identityName}@${controlHost}:5432/vitalake?sslmode=verify-full' }
            { name: 'VITALAKE_CONTROL__AZURE_IDENTITY', value: 'true' }
            { name: 'VITALAKE_AZURE__MONITOR__ENDPOINT', value: logsEndpoint }
            { name: 'VITALAKE_AZURE__MONITOR__RULE', value: logsRule }
            { name: 'VITALAKE_TELEMETRY__APPLICATION_INSIGHTS', value: insightsConnectionString }
            { name: 'VITALAKE_TELEMETRY__AZURE_IDENTITY', value: 'true' }
            { name: 'VITALAKE_LOG_FORMAT', value: 'json' }
            { name: 'VITALAKE_MASK_KEY', secretRef: 'mask-key' }
          ]
          probes: [
            {
              type: 'Liveness'
              httpGet: {
                path: '/health/live'
                port: 8888
              }
            }
            {
              type: 'Readiness'
              httpGet: {
                path: '/health/ready'
                port: 8888
              }
            }
          ]
          volumeMounts: [
            {
              volumeName: 'data'
              mountPath: '/data'
            }
            {
              volumeName: 'tls'
              mountPath: '/tls'
            }
          ]
        }
      ]
      scale: {
        minReplicas: 1
        maxReplicas: 1
      }
      volumes: [
        {
          name: 'data'
          storageType: 'NfsAzureFile'
          storageName: data.name
        }
        {
          name: 'tls'
          storageType: 'Secret'
          secrets: [
            {
              secretRef: 'certificate'
              path: 'certificate'
            }
            {
              secretRef: 'key'
              path: 'key'
            }
          ]
        }
      ]
    }
  }
  dependsOn: [ shareEndpoint ]
}

output url string = 'https://${app.properties.configuration.ingress.fqdn}'
output kafka string = '${app.properties.configuration.ingress.fqdn}:9092'
