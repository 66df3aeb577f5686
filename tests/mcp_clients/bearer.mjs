// Loaded before the conformance suite, which cannot be told a token: each of its three ways of asking sends one.

import http from "node:http";
import { createRequire } from "node:module";

const authorization = `Bearer ${process.env.PYRO_TEST_TOKEN}`;

const fetchWithout = globalThis.fetch;
globalThis.fetch = (input, options = {}) => {
  const headers = new Headers(options.headers ?? (input instanceof Request ? input.headers : undefined));
  headers.set("authorization", authorization);
  return fetchWithout(input, { ...options, headers });
};

// Where it names another host than the one it asks.
const { getGlobalDispatcher, setGlobalDispatcher } = createRequire(process.argv[1])("undici");
const withToken = (dispatch) => (options, handler) => {
  const { headers } = options;
  const more = Array.isArray(headers) ? [...headers, "authorization", authorization] : { ...headers, authorization };
  return dispatch({ ...options, headers: more }, handler);
};
setGlobalDispatcher(getGlobalDispatcher().compose(withToken));

// Where it cares for the case of the names of headers.
const requestWithout = http.request;
http.request = (...given) => requestWithout(...given).setHeader("authorization", authorization);
