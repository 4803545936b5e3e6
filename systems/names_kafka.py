"""Log-ins by Kafka's protocol, as bytes: SaslHandshake, SaslAuthenticate by PLAIN or SCRAM, and Metadata, which tells a client
of the topics that it may do something with."""
import base64
import hashlib
import hmac
import secrets
import socket
import struct


class Refused(Exception):
    """The proof is none."""


def text(value):
    return struct.pack(">h", len(value.encode())) + value.encode()


class Connection:
    """One connection; requests go out and answers come in one after the other."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the other side has closed")
            data += piece
        return data

    def _call(self, key, version, body):
        request = struct.pack(">hhi", key, version, 1) + text("log-in") + body
        self.socket.sendall(struct.pack(">i", len(request)) + request)
        answer = self._read(struct.unpack(">i", self._read(4))[0])
        return answer[4:]

    def _prove(self, message):
        answer = self._call(36, 0, struct.pack(">i", len(message)) + message)
        code, told = struct.unpack(">hh", answer[:4])
        if code:
            raise Refused(code)
        rest = answer[4 + max(told, 0):]
        return rest[4:]

    def log_in(self, mechanism, name, secret):
        code = struct.unpack(">h", self._call(17, 1, text(mechanism))[:2])[0]
        if code:
            raise Refused(code)
        if mechanism == "PLAIN":
            self._prove(f"\0{name}\0{secret}".encode())
        else:
            self._scram(hashlib.sha256 if mechanism.endswith("256") else hashlib.sha512, name, secret)

    def _scram(self, digest, name, secret):
        bare = f"n={name},r={secrets.token_hex(12)}"
        first = self._prove(b"n,," + bare.encode()).decode()
        fields = dict(field.split("=", 1) for field in first.split(","))
        salted = hashlib.pbkdf2_hmac(digest().name, secret.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.new(salted, b"Client Key", digest).digest()
        last = f"c=biws,r={fields['r']}"
        signature = hmac.new(digest(key).digest(), f"{bare},{first},{last}".encode(), digest).digest()
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
        told = self._prove(f"{last},p={proof}".encode()).decode()
        server = hmac.new(hmac.new(salted, b"Server Key", digest).digest(), f"{bare},{first},{last}".encode(), digest).digest()
        if told != f"v={base64.b64encode(server).decode()}":
            raise Refused("the server does not know the password")

    def topics(self):
        """The names of the topics that the client is told of."""
        answer, names = self._call(3, 1, struct.pack(">i", -1)), []
        at = 4
        for _ in range(struct.unpack(">i", answer[:4])[0]):
            at += 4
            at += 2 + struct.unpack(">h", answer[at:at + 2])[0] + 4
            at += 2 + max(struct.unpack(">h", answer[at:at + 2])[0], 0)
        at += 4
        (count,) = struct.unpack(">i", answer[at:at + 4])
        at += 4
        for _ in range(count):
            (length,) = struct.unpack(">h", answer[at + 2:at + 4])
            names.append(answer[at + 4:at + 4 + length].decode())
            at += 4 + length + 1
            (partitions,) = struct.unpack(">i", answer[at:at + 4])
            at += 4
            for _ in range(partitions):
                at += 10
                for _ in range(2):
                    at += 4 + 4 * struct.unpack(">i", answer[at:at + 4])[0]
        return names
