// What the tests have the JavaScript client do; the same words run in Node and in a browser's page.

const PATIENCE = 40_000; // ms
const SETTLING = 10_000; // ms after the talk in which the client must have found its way: five times what it takes

/**
 * Open a session, send `count` numbered messages, one every `every` ms, and take as many from the server, which numbers
 * its own ("d1", "d2" ...) and echoes ours ("u1" ...), which are longer by so many letters as `pad` says. Returns what
 * came and how it went; `silence` is the longest time in ms in which nothing came, once something had. `settles` names
 * the transport that is the right one: on a busy machine the talk may be over before it is there.
 */
export async function converse(HybridWS, url, { options = {}, count = 200, every = 10, pad = 0, settles = null, extra = {} }) {
  const story = { transports: [], states: [], down: [], back: [], silence: 0, error: null, info: null };
  const ws = new HybridWS(url, [], { ...options, ...extra });
  const begun = performance.now();
  let heard = Infinity;
  ws.onstate = ({ state, transport }) => {
    story.states.push(state);
    if (transport && story.transports.at(-1) != transport) story.transports.push(transport);
  };
  await new Promise((resolve) => {
    const timer = setTimeout(() => {
      story.error = "not done in time";
      resolve();
    }, PATIENCE);
    ws.onmessage = ({ data }) => {
      const now = performance.now();
      story.first ??= now - begun;
      story.silence = Math.max(story.silence, now - heard);
      heard = now;
      (data[0] == "d" ? story.down : story.back).push(parseInt(data.slice(1)));
      if (story.down.length >= count && story.back.length >= count) {
        clearTimeout(timer);
        setTimeout(resolve, 300); // whatever comes twice comes now
      }
    };
    ws.onclose = ({ code, reason, wasClean }) => {
      story.closed = [code, reason, wasClean];
      clearTimeout(timer);
      resolve();
    };
    let sent = 0;
    const say = () => {
      ws.send("u" + ++sent + "x".repeat(pad));
      if (sent < count) setTimeout(say, every);
    };
    say();
  });
  const patience = performance.now() + SETTLING;
  while (settles && ws.transport != settles && ws.readyState == 1 && performance.now() < patience) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  story.last = ws.transport;
  const closed = new Promise((resolve) => ws.addEventListener("close", resolve));
  if (ws.readyState < 2) {
    ws.close(3333, "bye");
    const { code, reason, wasClean } = await closed;
    story.closed = [code, reason, wasClean];
  }
  story.info = JSON.parse(JSON.stringify(ws.info));
  return story;
}
