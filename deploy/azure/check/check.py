#!/usr/bin/env python3
"""Checks a deployment folder: check.py [FOLDER]. Ends with 1 when anything is found.

Needs pycep-parser; the README beside says what no check here can see.
"""

import sys
from pathlib import Path

import bicep
import own

HERE = Path(__file__).resolve().parent


def findings(folder, reference):
    """All of them, each with its file; and how many resources were looked at."""
    files = sorted(path.resolve() for path in folder.rglob("*.bicep"))
    modules = {path: bicep.Module(path) for path in files}
    known = bicep.types(HERE)
    found = []
    for path, module in modules.items():
        found += [(path.relative_to(folder.resolve()), one) for one in bicep.check_module(module, known, modules)]
    main = modules[folder.resolve() / "main.bicep"]
    readme = (folder / "README.md").read_text()
    logs = (folder / "project/logs.bicep").read_text()
    every = list(modules.values())
    for rule in (own.settings(every, reference), own.roles(every, folder), own.streams(logs), own.queries(folder),
                 own.outputs(main, readme), own.parameters(main, readme)):
        found += [("", one) for one in rule]
    return found, sum(len(module.declared("resources")) for module in every)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent
    reference = (HERE.parent.parent.parent / "docs/configuration.md").read_text()
    found, resources = findings(folder, reference)
    for path, words in found:
        print(f"{path}: {words}" if path else words)
    wrong = [words for _, words in found if not words.startswith("note:")]
    print(f"{resources} resources, {len(wrong)} findings")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
