"""Schemathesis asks the running platform everything that its own OpenAPI document says, and much that it does not say: no
answer is a fault of the server, and none has a status, a media type or a form that the document does not name."""
import secrets
import subprocess

from parts import Failed, Vitalake, installed, until

#: Requests that schemathesis makes up for each operation, and how long all of them may take.
EXAMPLES, SECONDS = 15, 60
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def steward(run, project):
    """Lets one client into a project, who may everything, and gives its token."""
    done = subprocess.run([run.binary, "token", "sam", "--role", "steward"], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in done.stdout.splitlines()]
    token = next(line for line in lines if line.startswith("vl_"))
    with open(project / "vitalake.yaml", "a") as file:
        file.write("\naccess:\n  roles:\n    steward: {clearance: restricted, layers: [raw, curated, serving, quarantine, ops], records: true,"
                   " may: [deliver, operate], purposes: [research]}\n"
                   f"  clients:\n    sam:\n      roles: [steward]\n      {next(line for line in lines if line.startswith('token: '))}\n")
    return token


def check(run):
    python = installed("api") / "bin/python"
    vitalake = Vitalake(run.folder / "vitalake", run.binary, run.here.parent / "examples/remote-care")
    token = steward(run, vitalake.project)
    with vitalake:
        until("it is up", vitalake.is_up, True)
        seed = secrets.randbelow(1 << 31)
        said = subprocess.run(
            [python, "-m", "schemathesis.cli", "run", f"{vitalake.server}/api/v1/openapi.json", "-H", f"Authorization: Bearer {token}",
             "--checks", CHECKS, "--phases", "fuzzing", "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS), "--seed", str(seed),
             "--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure", "--no-color"],
            capture_output=True, text=True, timeout=SECONDS * 4, cwd=run.folder)
        if said.returncode:
            raise Failed(f"with the seed {seed}: {said.stdout[-3000:]}{said.stderr[-500:]}")
        count = next((line.strip() for line in said.stdout.splitlines() if "generated" in line), "no request was counted")
        return f"{count} (seed {seed})"
