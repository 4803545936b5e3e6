"""One vitalake process under measurement: started, asked over HTTP, watched through /proc, killed."""
import http.client, json, os, re, shutil, signal, socket, subprocess, tempfile, threading, time


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, binary, project, data=None):
        self.binary, self.project = binary, project
        self.data = data or tempfile.mkdtemp(prefix="vitalake-bench-")
        self.kafka, self.http = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process = None

    def start(self):
        """Seconds until it says that it is up, and until it is ready."""
        begun = time.perf_counter()
        command = [self.binary, "up", self.project, "--data", self.data, "--kafka", self.kafka, "--http", self.http]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if " is up (" in line:
                break
        else:
            raise RuntimeError("the server ended: " + "".join(lines))
        up = time.perf_counter() - begun
        self.said = []
        threading.Thread(target=lambda out: self.said.extend(out), args=(self.process.stdout,), daemon=True).start()
        while self.get("/health/ready")[0] != 200:
            time.sleep(0.005)
        return up, time.perf_counter() - begun

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.http, timeout=300)
        connection.request(method, path, body and json.dumps(body), {"content-type": "application/json"} if body else {})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, (json.loads(text) if text else None)

    def get(self, path):
        return self.request("GET", path)

    def sql(self, query):
        status, rows = self.request("POST", "/druid/v2/sql", {"query": query})
        if status != 200:
            raise RuntimeError(f"{query}: {rows}")
        return rows

    def flush(self):
        status, report = self.request("POST", "/api/v1/flush")
        if status != 200:
            raise RuntimeError(f"flush: {report}")
        return report

    def status(self):
        return self.get("/api/v1/status")[1]

    def high(self):
        return sum(p["high_watermark"] for p in self.status()["partitions"])

    def committed(self):
        return sum(p["committed_offset"] for p in self.status()["partitions"])

    def until_landed(self, of_all_layers=False):
        """Nothing waits any longer; asked twice, since what leaves one layer may not have come to the next."""
        quiet = 0
        while quiet < 2:
            wanted = [d for d in self.status()["datasets"] if of_all_layers or d["layer"] == "raw"]
            quiet = quiet + 1 if all((d["lag_records"] or 0) == 0 for d in wanted) else 0
            time.sleep(0.01)

    def until_committed(self):
        """One flush once everything has landed; the last record is in a commit when this returns."""
        self.until_landed()
        while self.committed() < self.high():
            self.flush()

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def under_load(self, loadgen, events):
        """Seconds, and seconds of CPU of the server's, from the first of the load generator's readings to the commit of the last."""
        cpu, begun = self.cpu_seconds(), time.perf_counter()
        subprocess.run([loadgen, "--json", "--bootstrap", self.kafka, "--topic", "readings", "--events", str(events)], check=True, stdout=subprocess.DEVNULL)
        self.until_committed()
        return time.perf_counter() - begun, self.cpu_seconds() - cpu

    def starved_seconds(self):
        """How long its threads of now have waited for a core that others had, summed."""
        waited = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as f:
                waited += int(f.read().split()[1])
        return waited / 1e9

    def io(self):
        with open(f"/proc/{self.process.pid}/io") as f:
            return {k: int(v) for k, v in re.findall(r"(\w+): (\d+)", f.read())}

    def memory_mb(self, what="VmRSS"):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(what + r":\s+(\d+)", f.read()).group(1)) / 1024

    def reset_peak(self):
        with open(f"/proc/{self.process.pid}/clear_refs", "w") as f:
            f.write("5")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def remove(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
