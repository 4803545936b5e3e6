"""A feed that reads objects of Azurite: those that stand still are delivered, by date, once; a mended one corrects its date."""
import json
import subprocess

from parts import Azurite, Vitalake, need, until

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: 00000000-0000-4000-8000-0000000000fe
name: people
version: 1.0.0
status: active
schema:
  - name: people
    properties:
      - {name: who, logicalType: string, required: true}
customProperties:
  - {property: source, value: feed}
"""
FEED = """name: people
dataset: people
source: {url: "az://clinic/drop/people", pattern: "p_{date:yyyyMMdd}*.csv"}
on: arrival
stable: 2s
look_every: 1s
"""


def on_azurite(run):
    with Azurite(run.folder / "azurite") as azurite:
        azurite.create_container("clinic")
        project = run.folder / "people"
        for name, text in {"vitalake.yaml": "name: people\n", "contracts/raw/people.yaml": CONTRACT, "feeds/people.yaml": FEED}.items():
            path = project / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, text in {"p_20260102.csv": "who\nb\nc\n", "p_20260101.csv": "who\na\n", "p_20260103.csv.tmp": "who\nx\n",
                           "below/p_20260104.csv": "who\nx\n"}.items():
            azurite.write("clinic", f"drop/people/{name}", text.encode())
        with Vitalake(run.folder / "vitalake", run.binary, project, settings=azurite.credentials()) as vitalake:
            def feed():
                command = [vitalake.binary, "feed", "list", "--json", "--server", vitalake.server]
                return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)[0]

            until("both are taken", lambda: feed()["files_taken"], 2)
            need("rows of two dates", vitalake.sql("SELECT COUNT(*), MIN(_partition) FROM raw.people"), [[3, 1]])
            need("the older came first", vitalake.sql("SELECT _partition FROM raw.people WHERE who = 'a'"), [[1]])
            azurite.write("clinic", "drop/people/p_20260102.csv", b"who\nb\nd\ne\n")
            until("the mended one corrects its date", lambda: vitalake.sql("SELECT COUNT(*) FROM raw.people"), [[4]])
            azurite.kill()
            until("it says that its store is away", lambda: feed()["state"], "away")
            azurite.start()
            until("it goes on", lambda: feed()["state"], "waiting")
            azurite.write("clinic", "drop/people/p_20260105.csv", b"who\nf\n")
            until("the next is taken", lambda: vitalake.sql("SELECT COUNT(*) FROM raw.people"), [[5]])
            names = azurite.names("clinic", "drop/people/")
            need("nothing was written or removed", len(names), 5)
            vitalake.kill()
            vitalake.start()
            until("known after a start", lambda: feed()["files_taken"], 3)
            need("and loaded once", vitalake.sql("SELECT COUNT(*) FROM raw.people"), [[5]])
    return "deliveries by date, a correction, a store that was away, a start: each row once"
