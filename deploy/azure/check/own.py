"""What no type knows: settings, roles, queries, and what the README says of outputs."""

import json
import re

# The names and ids of roles as Microsoft's list of built-in roles has them.
BUILT_IN_ROLES = {
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Azure Event Hubs Data Receiver": "a638d3c7-ab3a-418d-83e6-5f17a39d4fde",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
}
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I)
SETTING = re.compile(r"name: '(VITALAKE_[A-Z0-9_]+)'")
# Variables of the command line and of a project, which are no settings of vitalake.yaml.
NO_SETTINGS = {"VITALAKE_LOG", "VITALAKE_LOG_FORMAT", "VITALAKE_SERVER", "VITALAKE_TOKEN", "VITALAKE_MASK_KEY", "VITALAKE_ROLE"}
TABLE = re.compile(r"name: '(Vitalake\w+_CL)'\n\s+columns: \[\n(.*?)\n\s+\]", re.S)
COLUMN = re.compile(r"\{ name: '(\w+)', type: '(\w+)'")
# Words of KQL that begin with a capital letter are none of ours; what a query names itself is found in it.
NAMED = re.compile(r"\b(?:let\s+)?([A-Z]\w*)\s*=(?![=~])|\b([A-Z]\w*):\s*(?:string|real|long)")
TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


def settings(modules, reference):
    """Every app setting of ours is one that the binary takes."""
    known = set(re.findall(r"`(VITALAKE_[A-Z0-9_]+)`", reference))
    for module in modules:
        for name in SETTING.findall(module.text):
            if name not in known and name not in NO_SETTINGS:
                yield f"{module.path.name}: {name} is no setting (docs/configuration.md)"


def roles(modules, folder):
    """Ids of roles stand in one table, under the names that they have, and each is used."""
    table = json.loads((folder / "roles.json").read_text())
    for name, role in table.items():
        if BUILT_IN_ROLES.get(name) != role:
            yield f"roles.json: {name} is not the role {role}"
        if not any(f"roles['{name}']" in module.text for module in modules):
            yield f"roles.json: {name} is used nowhere"
    for module in modules:
        for found in UUID.findall(module.text):
            yield f"{module.path.name}: the id {found} stands outside roles.json"
        for name in re.findall(r"roles\['([^']+)'\]", module.text):
            if name not in table:
                yield f"{module.path.name}: roles.json has no {name}"


def tables(logs):
    """The tables of the workspace with their columns."""
    return {name: set(dict(COLUMN.findall(columns))) for name, columns in TABLE.findall(logs)}


def streams(logs):
    """Streams and tables have the same columns."""
    declared = tables(logs)
    for stream, columns in re.findall(r"'Custom-(\w+)': \{\n\s+columns: \[\n(.*?)\n\s+\]", logs, re.S):
        table = declared.get(f"{stream}_CL")
        if table is None:
            yield f"logs.bicep: the stream Custom-{stream} has no table"
        elif table != set(dict(COLUMN.findall(columns))):
            yield f"logs.bicep: the stream Custom-{stream} and its table have different columns"
    for name in declared:
        if f"'Custom-{name}'" not in logs:
            yield f"logs.bicep: no flow ends in {name}"


def query(text, where, known):
    """Every table and column that a query uses is there."""
    used = set(re.findall(r"\bVitalake\w+_CL\b", text))
    if not used:
        yield f"{where}: reads no table of ours"
    for name in used - set(known):
        yield f"{where}: there is no table {name}"
    named = {name for pair in NAMED.findall(text) for name in pair if name}
    columns = set().union(*(known.get(name, set()) for name in used)) | named | {"TimeRange"}
    for name in set(re.findall(r"\b[A-Z]\w*\b", TEXTS.sub("", text))) - used - columns:
        yield f"{where}: {', '.join(sorted(used))} has no column {name}"


def queries(folder):
    """Those of the rules and of the workbook."""
    known = tables((folder / "project/logs.bicep").read_text())
    for name, text in re.findall(r"resource (\w+) 'Microsoft.Insights/scheduled.*?query: '((?:[^'\\]|\\.)*)'",
                                 (folder / "project/alerts.bicep").read_text(), re.S):
        plain = text.replace("\\n", "\n").replace("\\'", "'").replace("\\\\", "\\")
        yield from query(plain, f"alerts.bicep: {name}", known)
        if "Dataset" not in plain and name != "alert_platform_silent":
            yield f"alerts.bicep: {name}: gives no Dataset"
    book = json.loads((folder / "project/workbook.json").read_text())
    for item in book["items"]:
        if item["type"] == 3:
            yield from query(item["content"]["query"], f"workbook.json: {item['name']}", known)


def outputs(main, readme):
    """Outputs that the README uses are there, and every one that is there is used in it."""
    declared = set(main.declared("outputs"))
    used = set(re.findall(r"\$\(output (\w+)\)", readme)) | set(re.findall(r"`output (\w+)`", readme))
    for name in sorted(used - declared):
        yield f"README.md: there is no output {name}"
    for name in sorted(declared - used):
        yield f"main.bicep: the README says nothing of the output {name}"


def parameters(main, readme):
    """A parameter that the README sets is there."""
    said = set(re.findall(r"\b(\w+)=(?:true|false)\b", readme)) | set(re.findall(r'"(\w+)": \{ "value"', readme))
    for name in sorted(said - set(main.declared("parameters"))):
        yield f"README.md: there is no parameter {name}"
    needed = {name for name, one in main.declared("parameters").items() if one.get("default") is None}
    for name in sorted(needed - said):
        yield f"README.md: says nothing of the parameter {name}, which has no default"
