"""Produces single records and waits for the answer: just enough of Produce version 7 for a probe."""
import socket, struct, time

TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


class Producer:
    def __init__(self, address, topic):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.topic = topic.encode()

    def send(self, partition, value):
        """The record's offset, once it is acknowledged."""
        record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
        now = int(time.time() * 1000)
        body = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1) + varint(len(record)) + record
        batch = struct.pack(">qiibI", 0, len(body) + 9, -1, 2, crc32c(body)) + body
        head = struct.pack(">hhih", 0, 7, 1, 5) + b"probe" + struct.pack(">hhii", -1, -1, 30000, 1)
        head += struct.pack(">h", len(self.topic)) + self.topic + struct.pack(">iii", 1, partition, len(batch))
        self.socket.sendall(struct.pack(">i", len(head) + len(batch)) + head + batch)
        answer = self.read(struct.unpack(">i", self.read(4))[0])
        code, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(self.topic) + 4 + 4)
        if code:
            raise RuntimeError(f"the probe was refused with error {code}")
        return offset

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise RuntimeError("the server closed the connection")
            data += more
        return data
