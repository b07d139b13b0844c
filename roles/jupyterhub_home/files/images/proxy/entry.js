// Starts configurable-http-proxy in this process, so that it is PID 1 and gets the signals itself,
// and then asks the hub for the routes, which a restarted proxy has lost.
//
// Environment: HUB_BASE_URL, the hub's base_url (default "/").
// The token is read from a file, because a variable would show in `docker inspect`.

import fs from "node:fs";

import { ProxyServer } from "http-proxy-3";

const TOKEN_FILE = "/run/secrets/proxy-token";
const HUB = "http://hub:8081";
const API = "http://127.0.0.1:8001/api/routes";
const PATIENCE_MS = 60_000;
const PAUSE_MS = 500;
const LOG_MAX = 1_000; // characters of one message: a URL, which anybody may send, has up to 16,000

function fail(message) {
  console.error(`proxy: ${message}`);
  process.exit(1);
}

for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream);
  stream.write = (chunk, ...rest) => {
    const text = String(chunk);
    return write(text.length > LOG_MAX ? `${text.slice(0, LOG_MAX)}… (${text.length} characters)\n` : chunk, ...rest);
  };
}

let token = "";
try {
  token = fs.readFileSync(TOKEN_FILE, "utf8").trim();
} catch (error) {
  fail(`cannot read the token: ${error.message}`);
}
if (token === "") fail(`${TOKEN_FILE} is empty`);
process.env.CONFIGPROXY_AUTH_TOKEN = token;

const baseUrl = `/${process.env.HUB_BASE_URL ?? ""}/`.replace(/\/+/g, "/");

process.argv.push(
  "--ip=0.0.0.0", "--port=8000",
  "--api-ip=0.0.0.0", "--api-port=8001",
  `--default-target=${HUB}`,
  `--error-target=${HUB}${baseUrl}hub/error`,
  "--log-level=warn",
);
// A server that answers a request for a websocket with a page: the library reads it on and on, and keeps what the browser
// does not take, until the proxy's memory is full.
const { emit } = ProxyServer.prototype;
ProxyServer.prototype.emit = function (event, request, _, socket, ...rest) {
  if (event === "proxyReqWs") {
    request.prependListener("response", (response) => {
      response.on("data", () => {
        if (!socket.writableNeedDrain) return;
        response.pause();
        socket.once("drain", () => response.resume());
      });
    });
  }
  return emit.call(this, event, request, _, socket, ...rest);
};
await import("./node_modules/configurable-http-proxy/bin/configurable-http-proxy");

// Resolves to "" when the request succeeded, else to what went wrong.
async function problemOf(url, method) {
  try {
    const response = await fetch(url, {
      method,
      headers: { Authorization: `token ${token}` },
      signal: AbortSignal.timeout(10_000),
    });
    await response.arrayBuffer();
    return response.ok ? "" : `status ${response.status}`;
  } catch (error) {
    return error.cause?.message ?? error.message;
  }
}

const deadline = performance.now() + PATIENCE_MS;
let problem = "";
for (const [url, method] of [[API, "GET"], [`${HUB}${baseUrl}hub/api/proxy`, "POST"]]) {
  while ((problem = await problemOf(url, method)) !== "" && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
if (problem !== "") {
  // Not fatal: the hub adds the routes itself when it starts.
  console.error(`proxy: the hub did not restore the routes: ${problem}`);
}
