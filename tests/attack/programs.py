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
