"""Relays in front of a server: one that can hold a write back, so that a process is stopped in the middle of it, and one
that can refuse every request for a while."""
import re
import selectors
import socket
import threading

CONTENT_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Relay:
    """Passes connections on to a port."""

    def __init__(self, port):
        self.port, self.listener = port, socket.create_server(("127.0.0.1", 0))

    def endpoint(self, path):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/{path}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        try:
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.take, args=(client,), daemon=True).start()
        except OSError:
            return  # closed

    def take(self, client):
        try:
            with client:
                self.relay(client)
        except OSError:
            return  # either side went away

    def relay(self, client):
        with socket.create_connection(("127.0.0.1", self.port)) as server, selectors.DefaultSelector() as ready:
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

    def keep(self, data):
        """What is to become of bytes on their way to the server."""


class Gate(Relay):
    """After `hold(then)`, the first PUT whose line has the wanted text is kept here, `then` is called, and the request goes
    on its way only after `open()`."""

    def __init__(self, port, text):
        super().__init__(port)
        self.text, self.held, self.opened, self.then = text, threading.Event(), threading.Event(), None

    def hold(self, then):
        self.then = then

    def open(self):
        self.opened.set()

    def __exit__(self, *error):
        self.open()
        super().__exit__(*error)

    def keep(self, data):
        line = data.split(b"\r\n", 1)[0]
        if self.then and line.startswith(b"PUT ") and self.text in line and b".json" in line:
            then, self.then = self.then, None
            then()
            self.held.set()
            self.opened.wait()


class Refusing(Relay):
    """After `refuse(…)`, open connections are cut where they are and every request is answered with that, until `pass_on()`."""

    def __init__(self, port):
        super().__init__(port)
        self.answer, self.open, self.refused = None, set(), 0

    def refuse(self, status, code, *headers):
        """As Azure does: a status line, its code of the error, more headers."""
        body = f"<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
        head = [f"HTTP/1.1 {status}", f"x-ms-error-code: {code}", "content-type: application/xml", *headers]
        self.refused, self.answer = 0, "\r\n".join([*head, f"content-length: {len(body)}", "connection: close", "", body]).encode()
        for client in list(self.open):
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone

    def pass_on(self):
        self.answer = None

    def relay(self, client):
        if self.answer:
            return self.turn_away(client)
        self.open.add(client)
        try:
            super().relay(client)
        finally:
            self.open.discard(client)

    def turn_away(self, client):
        answer, data = self.answer, b""
        while b"\r\n\r\n" not in data:
            data += self.more(client)
        head, _, body = data.partition(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        left = int(length[1] if length else 0) - len(body)
        while left > 0:
            left -= len(self.more(client))
        self.refused += 1
        client.sendall(answer)

    def more(self, client):
        data = client.recv(65536)
        if not data:
            raise OSError("the client went away")
        return data
