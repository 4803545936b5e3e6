#!/usr/bin/env python3
"""Whether the checks find what they say that they find: the deployment with one fault put in, for each kind of fault."""

import shutil
import sys
import tempfile
from pathlib import Path

from check import HERE, findings

# A file, what stands there, what is put in its place, and what must be said of it.
FAULTS = [
    ("modules/storage.bicep", "minimumTlsVersion:", "minimumTlsVersoin:", "did you mean minimumTlsVersion?"),
    ("modules/kafka.bicep", "defaultAction: 'Deny'", "defaultAction: 'Denied'", "'Denied' is none of"),
    ("modules/storage.bicep", "  sku: {\n    name: 'Standard_ZRS'\n  }\n", "", "account.sku: is required"),
    ("modules/storage.bicep", "isHnsEnabled: true", "isHnsEnabled: 'yes'", "true or false is wanted"),
    ("modules/storage.bicep", "@2024-01-01' = {\n  name: name", "@1999-01-01' = {\n  name: name", "not the version"),
    ("modules/registry.bicep", "principalType: 'ServicePrincipal'", "principalTyp: 'ServicePrincipal'", "pullerRoles.properties.principalTyp"),
    ("modules/control.bicep", "startIpAddress: '0.0.0.0'", "startIp: '0.0.0.0'", "fromAzure.properties.startIp"),
    ("modules/kafka.bicep", "exposedPort: 9092", "exposed: 9092", "additionalPortMappings[0].exposed"),
    ("modules/broker.bicep", "var isPrivate = ", "var other = 1\nvar isPrivate = ", "other: declared, never used"),
    ("modules/broker.bicep", "@description('Throughput units to begin with')\n", "", "capacity: a parameter without a description"),
    ("modules/broker.bicep", "resource namespace 'Micro", "resource namespace = 'Micro", "syntax:"),
    ("main.bicep", "    capacityMax: hubsCapacityMax\n", "", "needs the parameter capacityMax"),
    ("main.bicep", "    capacityMax: hubsCapacityMax\n", "    capacityMax: hubsCapacityMax\n    sku: 'x'\n", "has no parameter sku"),
    ("main.bicep", "broker.outputs.name", "broker.outputs.title", "has no output title"),
    ("modules/platform.bicep", "VITALAKE_KAFKA__BOOTSTRAP", "VITALAKE_KAFKA__BOOTSTRAPS", "is no setting"),
    ("roles.json", "ba92f5b4-2d11", "ba92f5b5-2d11", "is not the role"),
    ("modules/broker.bicep", "roles['Azure Event Hubs Data Receiver']", "'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'", "stands outside roles.json"),
    ("project/logs.bicep", "{ name: 'LagRecords', type: 'long' }", "{ name: 'LagRows', type: 'long' }", "different columns"),
    ("project/alerts.bicep", "min(Value) by Project", "min(Valeu) by Project", "has no column Valeu"),
    ("project/alerts.bicep", "'VitalakeLag_CL", "'VitalakeLags_CL", "there is no table VitalakeLags_CL"),
    ("project/workbook.json", "DiskFreeBytes", "DiskFree", "has no column DiskFree"),
    ("README.md", "$(output vault)", "$(output keyVault)", "there is no output keyVault"),
    ("README.md", "privateNetworking=true", "privateNet=true", "there is no parameter privateNet"),
]


def main():
    reference = (HERE.parent.parent.parent / "docs/configuration.md").read_text()
    failed = 0
    for file, there, put, wanted in FAULTS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "azure"
            shutil.copytree(HERE.parent, folder, ignore=shutil.ignore_patterns("check"))
            text = (folder / file).read_text()
            (folder / file).write_text(text.replace(there, put))
            said = [words for _, words in findings(folder, reference)[0] if not words.startswith("note:")]
            if there not in text or not any(wanted in words for words in said):
                failed += 1
                print(f"not found: {wanted} in {file}; said: {said[:3]}")
    print(f"{len(FAULTS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
