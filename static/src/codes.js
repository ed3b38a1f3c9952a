// Close codes: why a session ended (RFC 6455 §7.4.1; 3000-4999 are the application's but for those named here).

export const NORMAL = 1000;
export const GOING_AWAY = 1001;
export const NO_STATUS = 1005;
export const ABNORMAL = 1006;
export const HANDLER_FAILED = 1011;
export const RESTARTING = 1012;
export const TOO_SLOW = 4008;
export const MALFORMED = 4400;
export const NOT_AUTHENTICATED = 4401;
export const FORBIDDEN = 4403;
export const NO_SESSION = 4404;
export const SUPERSEDED = 4409;
export const TOO_LARGE = 4413;
