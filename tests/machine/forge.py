"""A git host over TLS: `git http-backend` behind the smallest server that will do.

With a file /srv/forge-status it answers with the status in it, and no more. With a file /srv/accepted-token it asks for that token, as the password of Basic or as Bearer; the file is read at each
request, so that a scenario can change it. Every request is written to /run/forge-requests, with the status and whether
credentials came.
"""

import base64
import http.server
import os
import ssl
import subprocess
from pathlib import Path

ACCEPTED = Path("/srv/accepted-token")
STATUS = Path("/srv/forge-status")
REQUESTS = Path("/run/forge-requests")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def allowed(self):
        if not ACCEPTED.exists():
            return True
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        return value == ACCEPTED.read_text()

    def answer(self, status, headers, body):
        with REQUESTS.open("a") as log:
            known = "with credentials" if "Authorization" in self.headers else "without credentials"
            log.write(f"{self.command} {self.path} {status} {known}\n")
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def backend(self, body):
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": "/srv",
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, stdout=subprocess.PIPE, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        status, headers = 200, []
        for line in head.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            elif name:
                headers.append((name, value))
        self.answer(status, headers, body)

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if STATUS.exists():
            self.answer(int(STATUS.read_text()), [("Retry-After", "3600")], b"later")
        elif not self.allowed():
            self.answer(401, [("WWW-Authenticate", 'Basic realm="forge"')], b"no")
        elif self.path.startswith("/config.git/"):
            self.backend(body)
        else:
            self.answer(404, [], b"not found")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/tls/forge.crt", "/srv/tls/forge.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
Path("/run/forge-ready").touch()
server.serve_forever()
