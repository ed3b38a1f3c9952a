// What the tests have sockjs-client do; the same words run in Node and in a browser's page.

const OPEN_WITHIN = 20_000; // ms for a forced transport to open: its own limit is too short for a busy machine

/**
 * Return the names of the transports that sockjs-client would try here, in its order.
 * It shows them at one moment only: when it begins to connect.
 */
export function enabled(SockJS, url) {
  return new Promise((resolve) => {
    const probe = new SockJS(url);
    probe._connect = function () {
      resolve(this._transports.map((transport) => transport.transportName));
      this.close();
    };
    probe.onclose = (event) => resolve(`closed with ${event.code} ${event.reason}`);
  });
}

/** Hold several conversations at once. Returns what the page would have seen of each. */
export function crowd(SockJS, url, plans) {
  return Promise.all(plans.map((plan) => converse(SockJS, url, plan)));
}

/**
 * Open a session over one transport, send `messages` at once, wait for `replies` of them, then close with `close`
 * ([code, reason]) or wait until the server does. Returns all that the page would have seen.
 */
export function converse(SockJS, url, { transport, messages, replies, close }) {
  // The frame of htmlfile sets its document.domain; Firefox lets it reach its page only if that has done so too.
  if (transport === "htmlfile") document.domain = document.domain; // eslint-disable-line no-self-assign
  return new Promise((resolve) => {
    const story = { transport: null, url: null, replies: [], closed: null };
    const sock = new SockJS(url, null, { transports: [transport], timeout: OPEN_WITHIN });
    const enough = () => {
      if (close && story.replies.length === replies) sock.close(...close);
    };
    sock.onopen = () => {
      story.transport = sock.transport;
      for (const message of messages) sock.send(message);
      enough();
    };
    sock.onmessage = (event) => {
      story.replies.push(event.data);
      enough();
    };
    sock.onclose = (event) => {
      story.closed = [event.code, event.reason, event.wasClean];
      resolve(story);
    };
  });
}
