"""What an attacker runs, in a notebook or on another machine."""

# Tries all at once: what each (kind, address, port) comes to. Whoever refuses has been reached.
TRY = """
import concurrent.futures, json, socket
def attempt(kind, host, port):
    try:
        if kind == 'tcp':
            socket.create_connection((host, port), timeout={seconds}).close()
        else:
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            asking.settimeout({seconds})
            asking.sendto(b'you', (host, port))
            asking.recv(9)
    except ConnectionRefusedError:
        return 'reached'
    except OSError as error:
        return 'stopped: ' + str(error)
    return 'reached'
with concurrent.futures.ThreadPoolExecutor(50) as pool:
    print(json.dumps(list(pool.map(lambda one: attempt(*one), {targets}))))
"""
LISTEN = """
import socketserver, threading
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        if isinstance(self.request, tuple):
            self.request[1].sendto(b'me', self.client_address)
for port in {ports}:
    for kind in (socketserver.ThreadingTCPServer, socketserver.ThreadingUDPServer):
        kind.allow_reuse_address = True
        threading.Thread(target=kind(('0.0.0.0', port), Answer).serve_forever{daemon}).start()
"""
# Knocks at 127.0.0.1 of a machine, by its address and hardware address, as no router would; prints reached or stopped.
LOOPBACK = """
import socket, struct, time
def checksum(data):
    total = sum(struct.unpack(f'!{{len(data) // 2}}H', data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff
own, there = socket.inet_aton({own!r}), socket.inet_aton('127.0.0.1')
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(('eth0', 0))
wire.settimeout(1)
mac = bytes.fromhex({mac!r}.replace(':', ''))
socket.socket().connect_ex(({address!r}, 9))  # then it knows where to answer, and need not ask as 127.0.0.1
port = 40000 + int(time.monotonic() * 100) % 20000
tcp = struct.pack('!HHIIBBHHH', port, {port}, 1, 0, 0x50, 2, 65535, 0, 0)
tcp = tcp[:16] + struct.pack('!H', checksum(own + there + struct.pack('!BBH', 0, 6, 20) + tcp)) + tcp[18:]
ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 40, 1, 0, 64, 6, 0, own, there)
ip = ip[:10] + struct.pack('!H', checksum(ip)) + ip[12:]
frame = mac + wire.getsockname()[4] + bytes([8, 0]) + ip + tcp
end, outcome = time.monotonic() + {seconds}, 'stopped'
wire.send(frame)
while outcome == 'stopped' and time.monotonic() < end:
    try:
        answer = wire.recv(2000)
    except TimeoutError:
        wire.send(frame)
        continue
    # A SYN-ACK or a RST of that connection, whatever the sender is called.
    if answer[12:14] == bytes([8, 0]) and answer[23] == 6 and answer[34:38] == struct.pack('!HH', {port}, port):
        outcome = 'reached'
print(outcome)
"""
