"""A workspace of Azure Monitor that takes everything, and a machine's identity: what sending costs is measured against it.

    python bench/azure_double.py 9400 &
    AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:9400 VITALAKE_AZURE__MONITOR__ENDPOINT=http://127.0.0.1:9400 \
        VITALAKE_AZURE__MONITOR__RULE=dcr-0 vitalake up PROJECT
    curl 127.0.0.1:9400/count

The share is what `vitalake_monitor_cpu_seconds_total` grows by over what `ops.resources.cpu_seconds` of the process does.
"""

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COUNT = {"calls": 0, "rows": 0, "bytes": 0, "sent": 0}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/count"):
            self.answer(200, json.dumps(COUNT).encode())
        else:
            self.answer(200, b'{"access_token":"t","expires_in":"86000","token_type":"Bearer"}')

    def do_POST(self):
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        if "/streams/" in self.path:
            plain = gzip.decompress(sent)
            COUNT["calls"] += 1
            COUNT["rows"] += len(json.loads(plain))
            COUNT["bytes"] += len(plain)
            COUNT["sent"] += len(sent)
            self.send_response(204)
            self.end_headers()
        else:
            self.answer(200, b'{"itemsReceived":0,"itemsAccepted":0,"errors":[]}')

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
