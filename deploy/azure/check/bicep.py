"""Bicep without its compiler: what a parser and Microsoft's types see of it.

Says: a syntax error; an unknown resource type or version; a property that is unknown, read-only, missing, of a wrong
type or outside its enumeration; a name that is declared and never used; a module that is called with a parameter it does not
have, or without one that it needs; an output of a module that there is none of. A value that only a deployment knows
matches anything. Not seen: references between resources, scopes, limits of a region, whatever only Azure knows.
"""

import difflib
import functools
import json
import re
from pathlib import Path

from pycep import BicepParser

EXPRESSION = object()
# What Bicep itself knows of every resource.
OF_EVERY_RESOURCE = {"parent", "scope", "dependsOn", "name", "tags"}


def types(folder):
    """The types of all index files, by their name in lower case."""
    found = {}
    for file in sorted(folder.glob("*-types.json")):
        for name, schema in json.loads(file.read_text())["resources"].items():
            found[name.lower()] = schema
    return found


@functools.cache
def parser():
    """Making one takes seconds."""
    return BicepParser()


@functools.cache
def parsed(text):
    """The tree of a text, and what is wrong with it."""
    try:
        return parser().parse(text=text), None
    except Exception as error:  # the parser's own kinds are many
        return {}, str(error).splitlines()[0]


class Module:
    """A file of Bicep, parsed."""

    def __init__(self, path):
        self.path = path
        self.text = path.read_text()
        self.tree, self.problem = parsed(self.text)

    def declared(self, kind):
        return self.tree.get(kind) or {}

    def names(self):
        kinds = ("parameters", "variables", "resources", "modules")
        return {name for kind in kinds for name in self.declared(kind)}


def body(declaration):
    """The object of a resource or a module, also within a condition or a loop."""
    config = declaration.get("config")
    while isinstance(config, dict) and "config" in config and ("condition" in config or "loop_type" in config):
        config = config["config"]
    return config if isinstance(config, dict) else {}


def local_names(declaration):
    """Names that a loop brings."""
    config, found = declaration.get("config"), set()
    while isinstance(config, dict) and "config" in config:
        detail = (config.get("loop_type") or {}).get("detail") or {}
        found |= {value for key, value in detail.items() if key.endswith("_name")}
        config = config["config"]
    return found


def plain(value, names):
    """The parser's tree as plain values. It writes a bare name as a text, so a text that is a declared name counts as one."""
    if isinstance(value, dict):
        if any(key in value for key in ("operator", "function", "for", "loop_type")):
            return EXPRESSION
        return {key: plain(one, names) for key, one in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(one, names) for one in value]
    if isinstance(value, str):
        return EXPRESSION if "${" in value or value in names else value
    return value if value is None or isinstance(value, (bool, int)) else EXPRESSION


def check_value(schema, value, path, definitions, out, top=False):
    if value is EXPRESSION or value is None or not isinstance(schema, dict):
        return
    while "$ref" in schema:
        schema = definitions[schema["$ref"].split("/")[-1]]
    if not isinstance(schema, dict):
        return
    if "x-cases" in schema:
        return check_cases(schema, value, path, definitions, out)
    if "anyOf" in schema:
        tries = []
        for one in schema["anyOf"]:
            found = []
            check_value(one, value, path, definitions, found)
            if not found:
                return None
            tries.append(found)
        return out.extend(min(tries, key=len))
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum") or [schema["const"]]
        if value not in allowed:
            out.append(f"{path}: {value!r} is none of {', '.join(map(str, allowed))}")
        return None
    kind = schema.get("type")
    if kind == "object":
        check_object(schema, value, path, definitions, out, top)
    elif kind == "array":
        if not isinstance(value, list):
            return out.append(f"{path}: an array is wanted, got {value!r}")
        for at, one in enumerate(value):
            check_value(schema["items"], one, f"{path}[{at}]", definitions, out)
    else:
        check_scalar(schema, kind, value, path, out)
    return None


def check_cases(schema, value, path, definitions, out):
    if not isinstance(value, dict):
        return out.append(f"{path}: an object is wanted")
    chosen = value.get(schema["x-discriminator"])
    if chosen is EXPRESSION:
        return None
    case = schema["x-cases"].get(chosen)
    if case is None:
        return out.append(f"{path}.{schema['x-discriminator']}: {chosen!r} is none of {', '.join(schema['x-cases'])}")
    while "$ref" in case:
        case = definitions[case["$ref"].split("/")[-1]]
    whole = {**case, "properties": {**schema["x-base"], **case.get("properties", {})}}
    return check_value(whole, value, path, definitions, out)


def check_object(schema, value, path, definitions, out, top):
    if not isinstance(value, dict):
        out.append(f"{path}: an object is wanted, got {value!r}")
        return
    properties = schema.get("properties", {})
    for key, one in value.items():
        if top and key in OF_EVERY_RESOURCE:
            continue
        if key in properties:
            check_value(properties[key], one, f"{path}.{key}", definitions, out)
        elif key in schema.get("x-readOnly", []):
            out.append(f"{path}.{key}: is read-only")
        elif schema.get("additionalProperties"):
            check_value(schema["additionalProperties"], one, f"{path}.{key}", definitions, out)
        elif isinstance(schema.get("additionalProperties"), bool):
            near = difflib.get_close_matches(key, properties, 1)
            out.append(f"{path}.{key}: no such property" + (f" (did you mean {near[0]}?)" if near else ""))
    for key in schema.get("required", []):
        if key not in value and not (top and key in ("name", "id", "type", "apiVersion")):
            out.append(f"{path}.{key}: is required")


def check_scalar(schema, kind, value, path, out):
    if kind == "string":
        if not isinstance(value, str):
            out.append(f"{path}: a text is wanted, got {value!r}")
        elif "x-known" in schema and value not in schema["x-known"]:
            out.append(f"note: {path}: {value!r} is none of the known {', '.join(schema['x-known'])}")
        elif not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
            out.append(f"{path}: its length of {len(value)} is out of bounds")
    elif kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int):
            out.append(f"{path}: an integer is wanted, got {value!r}")
        elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            out.append(f"{path}: {value} is out of bounds")
    elif kind == "boolean" and not isinstance(value, bool):
        out.append(f"{path}: true or false is wanted, got {value!r}")


def check_module(module, known, modules):
    """All findings of a file; notes begin with `note:`."""
    if module.problem:
        return [f"syntax: {module.problem}"]
    out, names = [], module.names()
    for name in sorted(set(module.declared("parameters")) | set(module.declared("variables"))):
        if len(re.findall(rf"\b{re.escape(name)}\b", module.text)) < 2:
            out.append(f"{name}: declared, never used")
    for name in module.declared("parameters"):
        if not any(one.get("type") == "description" for one in module.declared("parameters")[name].get("decorators") or []):
            out.append(f"{name}: a parameter without a description")
    versions = {one.split("@")[0] for one in known}
    for name, resource in module.declared("resources").items():
        kind = f"{resource['type']}@{resource['api_version']}"
        schema = known.get(kind.lower())
        if schema is None:
            is_known = kind.lower().split("@")[0] in versions
            why = "not the version whose types are here" if is_known else "no types of it are here"
            out.append(f"{name}: {kind}: {why}")
        elif not resource.get("existing"):
            value = plain(body(resource), names | local_names(resource))
            check_value({"$ref": schema["$ref"]}, value, name, schema["$defs"], out, top=True)
    check_calls(module, modules, out)
    return out


def check_calls(module, modules, out):
    for name, call in module.declared("modules").items():
        path = (module.path.parent / call["detail"]["path"]).resolve()
        called = modules.get(path)
        if called is None:
            out.append(f"{name}: there is no {call['detail']['path']}")
            continue
        given, wanted = set(body(call).get("params") or {}), called.declared("parameters")
        out.extend(f"{name}: {called.path.name} has no parameter {one}" for one in sorted(given - set(wanted)))
        needed = {one for one, said in wanted.items() if said.get("default") is None}
        out.extend(f"{name}: {called.path.name} needs the parameter {one}" for one in sorted(needed - given))
        for used in set(re.findall(rf"\b{re.escape(name)}\.outputs\.(\w+)", module.text)):
            if used not in called.declared("outputs"):
                out.append(f"{name}: {called.path.name} has no output {used}")
