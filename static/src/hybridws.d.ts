// The types of the public interface; test/types.test.ts checks that the class keeps to them.

/** A way in which a session is carried. */
export type Transport = "websocket" | "stream" | "poll";

/** Packets to bytes and back; `msgpack` of "hybridws/msgpack" is one. */
export interface Codec {
  readonly name: string;
}

export interface Options {
  /** The transports that may be used, the best first; one name fixes it. */
  transports?: Transport | Transport[];
  /** Messages are JSON values, both ways, not only texts. */
  json?: boolean;
  /** Another codec than JSON. */
  codec?: any;
  /** What `authenticate` on the server is given; a function, plain or async, is asked anew whenever it is needed. */
  auth?: any;
  /** What a session that the server has lost means: the end (4404), or a new session. Default: "close". */
  onlost?: "close" | "reopen";
  /** Keep the session when the page is loaded again (sessionStorage). */
  resumeOnReload?: boolean;
  /** Bytes that may be sent before `open`. Default: 1 MiB. */
  buffer?: number;
  /** Milliseconds for which a session is asked for. Default: 20,000. */
  openTimeout?: number;
  /** Whether cookies go to another origin, as for fetch. */
  credentials?: RequestCredentials;
  /** Where there is no global WebSocket (Node 20): the class `WebSocket` of the package ws. */
  WebSocket?: any;
  /** Another fetch than the global one. */
  fetch?: typeof globalThis.fetch;
  /** Tell the console of every turn. */
  debug?: boolean;
  /** Hears of every turn, instead of the console. */
  log?: (state: string, reason: string) => void;
}

export type State = "connecting" | "open" | "transport" | "interrupted" | "resumed" | "reset" | "closed";

export interface StateEvent extends Event {
  readonly state: State;
  readonly reason: string;
  readonly transport: Transport | null;
  /** With `reset`: the messages that may not have arrived. */
  readonly unacked: any[];
}

export interface Attempt {
  transport: string;
  /** When it began, in ms since the epoch. */
  at: number;
  /** Milliseconds until it carried the session, or failed. */
  took: number | null;
  /** Why it failed or ended; null while it serves. */
  failure: string | null;
}

export interface Info {
  attempts: Attempt[];
  /** Milliseconds from a request to its answer, smoothed; 0 before the first. */
  roundTrip: number;
  resumed: number;
  resets: number;
  /** Messages that the server dropped since this client was too slow. */
  skipped: number;
  /** Messages that the server has not confirmed. */
  readonly unacked: number;
  /** Seconds of silence after which this network cuts connections, less a margin: what the server is asked to stay below; null: not known. */
  readonly idle: number | null;
  /** Why the session is carried as it is, in a sentence. */
  readonly why: string;
}

export interface EventMap {
  open: Event;
  message: MessageEvent;
  error: Event;
  close: CloseEvent;
  state: StateEvent;
}

/** The other side answered a request with an error. */
export class RequestFailed extends Error {
  constructor(code: number, text: string);
  code: number;
}

/** A WebSocket that gets through any network; what is not a WebSocket's is marked `Extra`. */
export class HybridWS extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  constructor(url: string | URL, protocols?: string | string[] | Options, options?: Options);
  readonly CONNECTING: 0;
  readonly OPEN: 1;
  readonly CLOSING: 2;
  readonly CLOSED: 3;
  readonly readyState: number;
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly bufferedAmount: number;
  binaryType: BinaryType;
  onopen: ((this: this, event: Event) => any) | null;
  onmessage: ((this: this, event: MessageEvent) => any) | null;
  onerror: ((this: this, event: Event) => any) | null;
  onclose: ((this: this, event: CloseEvent) => any) | null;
  send(data: any): void;
  close(code?: number, reason?: string): void;

  /** Extra: hears of every turn in the session's life. */
  onstate: ((this: this, event: StateEvent) => any) | null;
  /** Extra: answers the server's requests. */
  onrequest: ((value: any) => any) | null;
  /** Extra: resolves when the session is open, rejects when it cannot be. */
  readonly ready: Promise<this>;
  /** Extra: what carries the session now. */
  readonly transport: Transport | null;
  /** Extra: what was tried and learned. */
  readonly info: Info;
  /** Extra: what was sent and not confirmed by the server. */
  readonly unacked: any[];
  /** Extra: send, and resolve when the server has it. */
  deliver(data: any): Promise<void>;
  /** Extra: send a request and resolve with its answer; `timeout` in ms. Rejects with RequestFailed, TimeoutError ... */
  request(value: any, options?: { timeout?: number; signal?: AbortSignal }): Promise<any>;
  /** Extra: use this transport, or these in this order, from now on; without any, all that may be. */
  use(transports?: Transport | Transport[]): void;
  /** Extra: the data of the messages, until the end. */
  [Symbol.asyncIterator](): AsyncGenerator<any, void, undefined>;

  addEventListener<K extends keyof EventMap>(
    type: K,
    listener: (this: this, event: EventMap[K]) => any,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof EventMap>(
    type: K,
    listener: (this: this, event: EventMap[K]) => any,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

export default HybridWS;
