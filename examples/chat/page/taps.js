// Shows each frame as it is on the wire: a WebSocket and a fetch that tell what passes through them.
//
// The client takes both as options, so nothing of it is changed. A frame is {at, way, over, kind, url, size, text, first,
// last}: `over` is the transport, `kind` the request, `first` and `last` the numbers of the messages that it holds.

const NUMBERED = new Set(["m", "b", "q", "r", "e", "u", "c"]); // packets that take a number (docs/protocol.md §1)
const OVER = { websocket: "websocket", stream: "stream", poll: "poll", open: "open", send: "send" };

const sizeOf = (data) => data?.byteLength ?? data?.size ?? new TextEncoder().encode(data ?? "").length;

/** Read the packets of a batch; a piece of a stream may be cut anywhere, so what is no packet is passed over. */
function* packets(text) {
  for (const line of text.split("\n")) {
    const words = line.startsWith("data: ") ? line.slice(6) : line;
    if (!words.startsWith('["')) continue;
    try {
      yield JSON.parse(words);
    } catch {
      // the other half comes with the next piece
    }
  }
}

/** Make the two taps. `tell` is called with each frame. @param {(frame: any) => void} tell */
export function makeTaps(tell) {
  /** Follow the numbers along one way of one connection or body. */
  const counter = () => {
    let next = 0;
    return (text) => {
      let [first, last] = [0, 0];
      for (const [kind, value] of packets(text)) {
        if (kind === "#") next = value;
        else if (next && NUMBERED.has(kind)) {
          first ||= next;
          last = next++;
        } else if (next && kind === "k") next += value;
      }
      return { first, last };
    };
  };
  const frame = (way, kind, url, data, numbers) => {
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    tell({ at: Date.now(), way, over: OVER[kind], kind, url, size: sizeOf(data), text, ...numbers(text) });
  };

  class TappedSocket extends WebSocket {
    #numbers = counter();

    constructor(url) {
      super(url);
      const numbers = counter();
      this.addEventListener("message", ({ data }) => frame("in", "websocket", this.url, data, numbers));
    }

    send(data) {
      frame("out", "websocket", this.url, data, this.#numbers);
      super.send(data);
    }
  }

  const tappedFetch = async (url, init) => {
    const kind = new URL(url, document.baseURI).pathname.split("/").at(-1);
    const body = init.body instanceof Blob ? await init.body.text() : init.body;
    frame("out", kind, url, body, counter());
    const response = await fetch(url, init);
    const numbers = counter();
    if (kind !== "stream" || !response.body) {
      const data = await response.arrayBuffer();
      frame("in", kind, url, data, numbers);
      return new Response(data, { status: response.status, headers: response.headers });
    }
    const watch = new TransformStream({
      transform(piece, out) {
        frame("in", kind, url, piece, numbers);
        out.enqueue(piece);
      },
    });
    return new Response(response.body.pipeThrough(watch), { status: response.status, headers: response.headers });
  };

  return { WebSocket: TappedSocket, fetch: tappedFetch };
}
