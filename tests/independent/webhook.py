"""A backend that believes only what is signed, with the function that docs/OPERATIONS.md shows.

Answers 200 to what is, and 401 to what is not. Prints its port, and then one line for each request: whether its signature is good, and
whether it is once a byte of its body, its id or its time is another one.
"""

import http.server
import pathlib
import re
import sys

text = (pathlib.Path(__file__).parents[2] / "docs" / "OPERATIONS.md").read_text()
exec(re.search(r"```python\n(.*?)```", text, re.S).group(1))
secret = pathlib.Path(sys.argv[1])


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        key, headers = secret.read_text(), dict(self.headers.items())
        good = is_from_quoth(key, headers, body)
        forged = [
            is_from_quoth(key, headers, body[:-1] + b" "),
            is_from_quoth(key, {**headers, "webhook-id": "another"}, body),
            is_from_quoth(key, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body),
            is_from_quoth(key, {**headers, "webhook-timestamp": "1"}, body),
            is_from_quoth("whsec_" + "A" * 44, headers, body),
        ]
        self.send_response(200 if good else 401)
        answer = b'{"result": "allow"}'
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print(good, any(forged), flush=True)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
print(server.server_port, flush=True)
server.serve_forever()
