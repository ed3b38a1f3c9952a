import type { Options } from "./hybridws.js";

export interface SockJSMessage extends Event {
  readonly data: any;
}

export interface SockJSClose extends Event {
  readonly code: number;
  readonly reason: string;
  readonly wasClean: boolean;
}

/** SockJS's constructor and events over HybridWS. SockJS's names of transports stand for those of ours that are like them. */
export class SockJS extends EventTarget {
  static readonly CONNECTING: 0;
  static readonly OPEN: 1;
  static readonly CLOSING: 2;
  static readonly CLOSED: 3;
  constructor(url: string, reserved?: any, options?: Omit<Options, "transports"> & { transports?: string | string[] });
  readonly readyState: number;
  readonly url: string;
  readonly protocol: string;
  readonly extensions: string;
  readonly transport: string | null;
  onopen: ((event: Event) => any) | null;
  onmessage: ((event: SockJSMessage) => any) | null;
  onclose: ((event: SockJSClose) => any) | null;
  send(data: any): boolean;
  close(code?: number, reason?: string): boolean;
}

export default SockJS;
