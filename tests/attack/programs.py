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
# On the other machine: a first packet of TCP, in a frame for the machine, to an address that no wire should carry.
LOOPBACK = """
import random, socket, struct
def checksum(data):
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return struct.pack('!H', ~(total + (total >> 16)) & 0xffff)
ours, theirs = socket.inet_aton('{own}'), socket.inet_aton('127.0.0.1')
own = bytes.fromhex(open('/sys/class/net/eth0/address').read().strip().replace(':', ''))
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(('eth0', 0))
wire.settimeout(4)
ports = random.sample(range(33000, 60000), 3)  # answers to an earlier attempt may still come
for port in ports:
    tcp = struct.pack('!HHIIBBHHH', port, 8000, 1000, 0, 0x50, 2, 64240, 0, 0)
    tcp = tcp[:16] + checksum(ours + theirs + struct.pack('!BBH', 0, 6, len(tcp)) + tcp) + tcp[18:]
    ip = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, ours, theirs)
    ip = ip[:10] + checksum(ip) + ip[12:]
    wire.send(bytes.fromhex('{mac}') + own + bytes.fromhex('0800') + ip + tcp)
try:
    while True:
        frame = wire.recv(65535)
        to = int.from_bytes(frame[36:38], 'big')
        if frame[12:14] == bytes.fromhex('0800') and frame[26:30] == theirs and to in ports:
            print('reached')
            break
except TimeoutError:
    print('stopped')
"""
