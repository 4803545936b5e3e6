"""A relay in front of a server that can hold one write back, so that a process is stopped in the middle of it."""
import selectors
import socket
import threading


class Gate:
    """Passes connections on to a port. After `hold(then)`, the first PUT whose line has the wanted text is kept here,
    `then` is called, and the request goes on its way only after `open()`."""

    def __init__(self, port, text):
        self.port, self.text = port, text
        self.held, self.opened, self.then = threading.Event(), threading.Event(), None
        self.listener = socket.create_server(("127.0.0.1", 0))

    def endpoint(self, path):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/{path}"

    def hold(self, then):
        self.then = then

    def open(self):
        self.opened.set()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.open()
        self.listener.close()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.relay, args=(client,), daemon=True).start()
        except OSError:
            return  # closed

    def relay(self, client):
        try:
            with client, socket.create_connection(("127.0.0.1", self.port)) as server, selectors.DefaultSelector() as ready:
                ready.register(client, selectors.EVENT_READ, server)
                ready.register(server, selectors.EVENT_READ, client)
                while True:
                    for key, _ in ready.select():
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        if key.fileobj is client:
                            self.keep(data)
                        key.data.sendall(data)
        except OSError:
            return  # either side went away

    def keep(self, data):
        line = data.split(b"\r\n", 1)[0]
        if self.then and line.startswith(b"PUT ") and self.text in line and b".json" in line:
            then, self.then = self.then, None
            then()
            self.held.set()
            self.opened.wait()
