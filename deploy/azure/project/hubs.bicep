// Made by `vitalake azure render`: change the project and make it anew, not this file.
// One hub for each topic of the project. Event Hubs makes none by itself: `kafka.create_topics` is false.
@description('Name of the namespace')
param namespaceName string

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: namespaceName
}

// raw.app_events
resource hub_app_events 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'app-events'
  properties: {
    partitionCount: 4
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: 168
    }
  }
}

// raw.wearable_readings
resource hub_wearable_readings 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: 'wearable-readings'
  properties: {
    partitionCount: 4
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: 168
    }
  }
}
