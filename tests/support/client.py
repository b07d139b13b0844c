"""A JupyterHub user without a browser: log in, start a server, compute in a kernel, keep files.

Every method that waits has a bound and raises `HubError` when it is passed; none sleeps longer than
it must.
"""

from __future__ import annotations

import html
import json
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests
import websocket

Json = dict[str, Any]


class HubError(Exception):
    """The hub or a server did not do what it should; the text has its answer."""


class LoginRefused(HubError):
    """The hub answered a login with its form again; the text is what it shows above it."""


def wait_until(condition: Callable[[], object], what: str, *, timeout: float = 60, pause: float = 0.1) -> float:
    """Call until the result is true, with a pause between; the seconds that took, or HubError after so many.

    Errors of the network count as "not yet": the other side may just be restarting.
    """
    begin = time.monotonic()
    last = "nothing"
    while True:
        try:
            if condition():
                return time.monotonic() - begin
        except (requests.RequestException, websocket.WebSocketException, OSError) as error:
            last = repr(error)
        if time.monotonic() - begin > timeout:
            raise HubError(f"{what}: not within {timeout} s; last error: {last}")
        time.sleep(pause)


class HubClient:
    """One user's session with a hub at an address such as http://192.168.1.20:8000."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self.user = user
        self.password = password
        self.http = requests.Session()
        self.http.trust_env = False  # a proxy for the internet knows no machine at home

    def xsrf(self, path: str) -> str:
        """The XSRF token for one of the paths /hub/ and /user/NAME/, which have their own."""
        prefix = urlsplit(self.url).path
        for cookie in self.http.cookies:
            if cookie.name == "_xsrf" and cookie.path == prefix + path:
                return cookie.value or ""
        raise HubError(f"no _xsrf cookie for {path}")

    def get(self, path: str) -> requests.Response:
        """A page as the browser would see it, redirects followed."""
        return self.http.get(self.url + path, timeout=30)

    # --- The hub ----------------------------------------------------------
    def login(self) -> None:
        """Log in as the form does; LoginRefused if the hub shows it again."""
        page = self.get("/hub/login")
        page.raise_for_status()
        form = {"username": self.user, "password": self.password, "_xsrf": self.xsrf("/hub/")}
        answer = self.http.post(self.url + "/hub/login?next=", data=form, allow_redirects=False, timeout=60)
        if answer.status_code != 302:
            shown = re.search(r'class="[^"]*login_error[^"]*">([^<]*)', answer.text)
            raise LoginRefused(
                html.unescape(shown[1]).strip() if shown else f"{answer.status_code} {answer.text[:300]}"
            )
        self.get("/hub/home").raise_for_status()  # binds the XSRF token to the session

    def hub(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call of the hub's REST API, such as ("GET", "/users/alice"), with this session."""
        headers = {"X-XSRFToken": self.xsrf("/hub/"), "Referer": self.url + "/hub/home"}
        return self.http.request(method, f"{self.url}/hub/api{path}", headers=headers, timeout=30, **options)

    def model(self, user: str | None = None) -> Json:
        """The hub's record of a user, by default oneself."""
        answer = self.hub("GET", f"/users/{quote(user or self.user)}")
        answer.raise_for_status()
        record: Json = answer.json()
        return record

    def server(self, user: str | None = None) -> Json | None:
        """The hub's record of a user's server, None while there is none."""
        record: Json | None = self.model(user).get("servers", {}).get("")
        return record

    # --- A server ---------------------------------------------------------
    def spawn(self, chosen: Json | None = None, *, timeout: float = 120) -> float:
        """Start one's server, with user options, and wait until it is ready; the seconds that took."""
        begin = time.monotonic()
        answer = self.hub("POST", f"/users/{quote(self.user)}/server", json=chosen)
        if answer.status_code not in (201, 202):
            raise HubError(f"spawn: {answer.status_code} {answer.text}")
        self.wait_ready(timeout=timeout)
        return time.monotonic() - begin

    def wait_ready(self, *, timeout: float = 120) -> None:
        """Wait until one's server answers; HubError if it goes away instead."""

        def ready() -> bool:
            server = self.server()
            if server is None:
                raise HubError(f"the server of {self.user} did not start")
            return bool(server["ready"])

        wait_until(ready, f"server of {self.user} ready", timeout=timeout)

    def stop(self, *, timeout: float = 60) -> None:
        """Stop one's server, if there is one, and wait until the hub says that it is gone."""
        answer = self.hub("DELETE", f"/users/{quote(self.user)}/server")
        if answer.status_code not in (202, 204, 404):
            raise HubError(f"stop: {answer.status_code} {answer.text}")
        wait_until(lambda: self.server() is None, f"server of {self.user} stopped", timeout=timeout)

    def enter(self, user: str | None = None) -> requests.Response:
        """Open a user's server, by default one's own, through the hub's OAuth pages.

        Presses "Authorize" where the hub asks. The answer is the server's page, or the hub's
        refusal (403).
        """
        answer = self.get(f"/user/{quote(user or self.user)}/lab")
        if urlsplit(answer.url).path.endswith("/hub/api/oauth2/authorize") and answer.ok:
            scopes = re.findall(r'name="scopes"[^>]*value="([^"]*)"', answer.text)
            form = {"scopes": [html.unescape(s) for s in scopes], "_xsrf": self.xsrf("/hub/")}
            answer = self.http.post(answer.url, data=form, headers={"Referer": answer.url}, timeout=30)
        return answer

    def api(
        self, method: str, path: str, *, of: str | None = None, below: str = "api", **options: Any
    ) -> requests.Response:
        """A call of a server's own REST API, such as ("GET", "/kernels"); `enter` it first."""
        base = f"/user/{quote(of or self.user)}/"
        headers = {"X-XSRFToken": self.xsrf(base)}
        return self.http.request(method, f"{self.url}{base}{below}{path}", headers=headers, timeout=30, **options)

    def lab(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call of JupyterLab's API in one's server, such as ("GET", "/settings/PLUGIN")."""
        return self.api(method, path, below="lab/api", **options)

    def save(self, path: str, text: str) -> None:
        """Write a text file below the work folder, as the file browser does."""
        body = {"type": "file", "format": "text", "content": text}
        self.api("PUT", f"/contents/{quote(path)}", json=body).raise_for_status()

    def load(self, path: str, *, of: str | None = None) -> str:
        """Read a text file below the work folder of a user, by default oneself."""
        answer = self.api("GET", f"/contents/{quote(path)}?content=1", of=of)
        answer.raise_for_status()
        return str(answer.json()["content"])

    def kernel(self, *, of: str | None = None) -> Kernel:
        """Start a kernel and connect to it."""
        answer = self.api("POST", "/kernels", of=of, json={"name": "python3"})
        answer.raise_for_status()
        return Kernel(self, of or self.user, answer.json()["id"])

    def terminal(self) -> Terminal:
        """Start a terminal and connect to it."""
        answer = self.api("POST", "/terminals")
        answer.raise_for_status()
        return Terminal(self, answer.json()["name"])

    def websocket(self, path: str, *, of: str | None = None) -> websocket.WebSocket:
        """A websocket to a path in a user's server, by default one's own, as a page in the browser opens it."""
        base = f"/user/{quote(of or self.user)}/"
        url, _, query = f"{self.url}{base}{path}".partition("?")
        prepared = self.http.prepare_request(requests.Request("GET", url))
        return websocket.create_connection(
            f"ws{url.removeprefix('http')}?{query}&_xsrf={self.xsrf(base)}",
            cookie=prepared.headers.get("Cookie", ""),
            origin=self.url,
            timeout=60,
            http_no_proxy=["*"],
        )

    def run(self, code: str, *, timeout: float = 60) -> str:
        """What one cell prints or gives, computed in a kernel of its own."""
        kernel = self.kernel()
        try:
            return kernel.execute(code, timeout=timeout)
        finally:
            kernel.close()
            self.api("DELETE", f"/kernels/{kernel.id}")


class Kernel:
    """A websocket to one kernel, as a notebook in the browser holds it."""

    def __init__(self, client: HubClient, owner: str, kernel_id: str) -> None:
        self.id = kernel_id
        self.session = uuid.uuid4().hex
        self.socket = client.websocket(f"api/kernels/{kernel_id}/channels?session_id={self.session}", of=owner)
        # As in a browser, somebody answers the server's pings all the time, or it would end the connection.
        self.received: queue.SimpleQueue[str | bytes | Exception] = queue.SimpleQueue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        """Receive until the connection ends; then what ended it is the last that is received."""
        self.socket.settimeout(None)
        try:
            while text := self.socket.recv():
                self.received.put(text)
            self.received.put(websocket.WebSocketConnectionClosedException("the server has closed the connection"))
        except (websocket.WebSocketException, OSError) as error:
            self.received.put(error)

    def send(self, code: str, *, store_history: bool = False) -> str:
        """Have a cell run; the id to ask `result` for its output with."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "session": self.session,
            "username": "",
            "version": "5.3",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "channel": "shell",
            "buffers": [],
            "content": content,
        }
        self.socket.send(json.dumps(message))
        return message_id

    def result(self, message_id: str, *, until: str | None = None, timeout: float = 60) -> str:
        """The output of a cell when it is done, or as soon as it has printed `until`.

        HubError with the traceback if it failed; a websocket exception if the connection broke.
        """
        output = ""
        while True:
            try:
                received = self.received.get(timeout=timeout)
            except queue.Empty:
                raise websocket.WebSocketTimeoutException(f"nothing for {timeout} s, after {output!r}") from None
            if isinstance(received, Exception):
                self.received.put(received)
                raise received
            message = json.loads(received)
            if message.get("parent_header", {}).get("msg_id") != message_id:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    output += content["text"]
                case "execute_result":
                    output += content["data"]["text/plain"]
                case "error":
                    raise HubError("\n".join(content["traceback"]))
                case "status" if content["execution_state"] == "idle":
                    return output
            if until is not None and until in output:
                return output

    def execute(self, code: str, *, store_history: bool = False, timeout: float = 60) -> str:
        """Run a cell and return its output."""
        return self.result(self.send(code, store_history=store_history), timeout=timeout)

    def close(self) -> None:
        """Close the websocket; the kernel goes on."""
        self.socket.close()


class Terminal:
    """A websocket to one terminal."""

    def __init__(self, client: HubClient, name: str) -> None:
        self.socket = client.websocket(f"terminals/websocket/{name}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def run(self, command: str) -> str:
        """Type a command and wait until it has ended; what the terminal shows meanwhile."""
        mark = uuid.uuid4().hex
        # What is typed is shown, too: the mark only comes together when it is run.
        self.socket.send(json.dumps(["stdin", f"{command}; echo '{mark[:9]}''{mark[9:]}'\r"]))
        shown = ""
        while mark not in shown:
            kind, *text = json.loads(self.socket.recv())
            if kind == "disconnect":
                raise HubError(f"the terminal ended: {shown}")
            shown += text[0] if kind == "stdout" else ""
        return shown
