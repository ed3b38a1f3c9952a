/* Puts load on one server over its own wire, checks every answer, and prints what it counted as one line of JSON.
 *
 *   generator --port P --mode echo|fanout|idle|opens --group DIALECT:PATH:SESSIONS [--group ...]
 *             [--outstanding K] [--size BYTES] [--seconds S] [--warm S] [--pids 1,2] [--no-probe]
 *
 * echo    each session keeps K messages under way
 * fanout  the first session keeps K publishes under way; every delivery counts
 * idle    opens the sessions, prints {"ready": N} and holds them until its standard input ends
 * opens   SESSIONS at a time are opened and closed, again and again
 *
 * Beside the load one more session of the first dialect sends a message every 5 ms: its round trips (probe) show how
 * long the server's loop lets anybody wait. A wrong answer, an early end or 10 s without progress is an error, never
 * a rate.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 20, RING = 64, EVENTS = 256, ROOM = 1 << 20, MAX_GROUPS = 4, MAX_PROBES = 1 << 16 };
enum { OPENING_AT_ONCE = 100 }; /* below the backlog of 128 that most servers listen with */
enum { PROBE_EVERY = 5000, STALLED_AFTER = 10000000 }; /* microseconds */
enum { SOURCES = 100 }; /* addresses 127.0.0.x to connect from, so that ports do not run out */

typedef struct { char *at; size_t length, room, start; } Buffer;
typedef struct Session Session;
typedef struct Dialect Dialect;

typedef struct Wire { /* one connection */
    int fd, listed, armed, is_websocket;
    Session *session;
    Buffer in, out, body;
    enum { HEAD, LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILER, UNTIL_END } part;
    int busy, streams, status, closes, upgraded;
    size_t left;
} Wire;

struct Session {
    const Dialect *dialect;
    const char *path;
    int group, index, is_probe;
    Wire down, up; /* a WebSocket, or what brings messages down; and what takes them up */
    char sid[96], key[96];
    int step, ready, joined, closing;
    uint64_t said, heard;      /* echoes */
    uint64_t next_publish;     /* the number of the next broadcast */
    int waiting, publishes;    /* messages and publishes that wait to be sent */
    uint64_t attach, numbered, received, lane, acked; /* the native protocol's counts */
    int placed;
    uint64_t ack_at; /* when an ack goes alone, if nothing takes it along before; 0: nothing is to be acked */
};

struct Dialect {
    const char *name;
    int is_websocket;
    void (*open)(Session *);
    void (*frame)(Session *, char *, size_t);                 /* one WebSocket frame */
    size_t (*body)(Wire *, char *, size_t, int);              /* (part of) a response; returns what it used */
    void (*flush)(Session *);                                 /* send what waits */
    void (*close)(Session *);
};

typedef struct { const Dialect *dialect; const char *path; int sessions; uint64_t count; } Group;

static enum { ECHO_, FANOUT, IDLE, OPENS } mode;
static Group groups[MAX_GROUPS];
static int group_count, port, outstanding = 1, poller, total, next_open, opening, ready, wants_probe = 1;
static size_t size = 64;
static double seconds = 2, warm = 0.5;
static char *filler, *pids = "", *mode_name = "";
static Session *sessions;
static uint64_t publish_number, progress, counted;
static int publish_left[RING];
static enum { OPEN_ALL, WARM_UP, MEASURE } phase;
static uint64_t began, last_progress, probe_sent, *probes;
static int probe_count;
static char scratch[ROOM];

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...) {
    char text[600];
    va_list words;
    va_start(words, format);
    vsnprintf(text, sizeof text, format, words);
    va_end(words);
    printf("{\"error\": \"");
    for (char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') putchar('\\');
        if (*c == '\n') printf("\\n");
        else if ((unsigned char)*c >= 32) putchar(*c);
    }
    printf("\"}\n");
    fflush(stdout);
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────── */

static char *reserve(Buffer *b, size_t more) {
    if (b->start == b->length) b->start = b->length = 0;
    if (b->length + more > b->room) {
        b->room = (b->length + more) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) fail("out of memory");
    }
    return b->at + b->length;
}

static void put(Buffer *b, const char *bytes, size_t length) {
    char *at = reserve(b, length + 1);
    memcpy(at, bytes, length);
    at[length] = 0; /* so that it may be searched as text */
    b->length += length;
}

static void say(Buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(Buffer *b, const char *format, ...) {
    va_list words;
    va_start(words, format);
    char *at = reserve(b, 1024);
    b->length += (size_t)vsnprintf(at, 1024, format, words);
    va_end(words);
}

static void empty(Buffer *b) { b->start = b->length = 0; }

/* A message: kind, the session in 8 hex digits, its number in 10 digits, a dash, and x to its full size. */
static void header(char *at, char kind, uint32_t who, uint64_t number) {
    at[0] = kind;
    for (int i = 8; i >= 1; i--, who >>= 4) at[i] = "0123456789abcdef"[who & 15];
    for (int i = 18; i >= 9; i--, number /= 10) at[i] = (char)('0' + number % 10);
    at[19] = '-';
}

static void put_message(Buffer *b, char kind, uint32_t who, uint64_t number) {
    char *at = reserve(b, size);
    header(at, kind, who, number);
    memcpy(at + HEADER, filler, size - HEADER);
    b->length += size;
}

/* Put the next message of this session, and tell whether there was one. */
static int put_next(Buffer *b, Session *s) {
    if (s->publishes) {
        s->publishes--;
        put_message(b, 'B', 0, publish_number++);
    } else if (s->waiting) {
        s->waiting--;
        put_message(b, 'E', (uint32_t)s->index, s->said++);
    } else return 0;
    return 1;
}

static int has_next(const Session *s) { return s->publishes || s->waiting; }

/* ── connections ───────────────────────────────────────────────────────────────────────────────────────────────── */

static void dial(Wire *w) {
    static int turn;
    w->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (w->fd < 0) fail("no socket: %s", strerror(errno));
    int one = 1;
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(w->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(turn++ % SOURCES))};
    if (bind(w->fd, (struct sockaddr *)&from, sizeof from)) fail("bind: %s", strerror(errno));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(w->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect: %s", strerror(errno));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = w};
    epoll_ctl(poller, EPOLL_CTL_ADD, w->fd, &e);
    w->armed = 1;
    w->busy = w->upgraded = w->closes = 0;
    w->part = HEAD;
    empty(&w->in), empty(&w->out), empty(&w->body);
}

static void hang_up(Wire *w) {
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    w->busy = 0;
}

static void arm(Wire *w, int on) {
    if (w->armed == on) return;
    struct epoll_event e = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = w};
    epoll_ctl(poller, EPOLL_CTL_MOD, w->fd, &e);
    w->armed = on;
}

static void write_out(Wire *w) {
    Buffer *b = &w->out;
    while (b->start < b->length) {
        ssize_t n = send(w->fd, b->at + b->start, b->length - b->start, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { arm(w, 1); return; }
        if (n < 0 && w->session->closing) { empty(b); return; }
        if (n < 0) fail("%s: send: %s", w->session->dialect->name, strerror(errno));
        b->start += (size_t)n;
    }
    empty(b);
    arm(w, 0);
}

/* What one event made is written once, when it has been dealt with. */
static Wire *dirty[16];
static int dirty_count;
static void write_dirty(void) {
    for (int i = 0; i < dirty_count; i++) {
        dirty[i]->listed = 0;
        if (dirty[i]->fd >= 0) write_out(dirty[i]);
    }
    dirty_count = 0;
}
static void touch(Wire *w) {
    if (w->armed || w->listed) return; /* epoll will say when */
    if (dirty_count == 16) { write_out(w); return; }
    w->listed = 1;
    dirty[dirty_count++] = w;
}

/* ── WebSocket ─────────────────────────────────────────────────────────────────────────────────────────────────── */

static void upgrade(Session *s, const char *path) {
    Wire *w = &s->down;
    dial(w);
    w->is_websocket = 1;
    say(&w->out,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        path, port, port);
}

static const unsigned char MASK[4] = {0x5a, 0x13, 0x6d, 0x21};

static void put_frame(Wire *w, int opcode, const char *payload, size_t length) {
    unsigned char *at = (unsigned char *)reserve(&w->out, length + 14);
    size_t head = 2;
    at[0] = (unsigned char)(0x80 | opcode);
    if (length < 126) at[1] = (unsigned char)(0x80 | length);
    else if (length < 65536) at[1] = 0x80 | 126, at[2] = (unsigned char)(length >> 8), at[3] = (unsigned char)length, head = 4;
    else {
        at[1] = 0x80 | 127;
        for (int i = 0; i < 8; i++) at[2 + i] = (unsigned char)((uint64_t)length >> (56 - 8 * i));
        head = 10;
    }
    memcpy(at + head, MASK, 4);
    head += 4;
    uint64_t mask8;
    memcpy(&mask8, "\x5a\x13\x6d\x21\x5a\x13\x6d\x21", 8);
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, payload + i, 8);
        word ^= mask8;
        memcpy(at + head + i, &word, 8);
    }
    for (; i < length; i++) at[head + i] = (unsigned char)payload[i] ^ MASK[i & 3];
    w->out.length += head + length;
    touch(w);
}

static void session_ready(Session *s);
static void session_over(Session *s);

/* Take the frames that are complete; returns the bytes used. */
static size_t take_frames(Wire *w, char *at, size_t length) {
    Session *s = w->session;
    size_t used = 0;
    if (!w->upgraded) {
        char *end = memmem(at, length, "\r\n\r\n", 4);
        if (!end) return 0;
        if (length < 12 || memcmp(at, "HTTP/1.1 101", 12)) fail("%s: no WebSocket but %.200s", s->dialect->name, at);
        used = (size_t)(end - at) + 4;
        w->upgraded = 1;
        s->dialect->frame(s, NULL, 0);
    }
    while (w->fd >= 0 && length - used >= 2) {
        unsigned char *f = (unsigned char *)at + used;
        size_t head = 2, n = f[1] & 0x7f;
        if (f[1] & 0x80) fail("%s: a masked frame from the server", s->dialect->name);
        if (n == 126) head = 4;
        if (n == 127) head = 10;
        if (length - used < head) break;
        if (n == 126) n = (size_t)f[2] << 8 | f[3];
        else if (n == 127) for (n = 0, head = 2; head < 10; head++) n = n << 8 | f[head];
        if (length - used < head + n) break;
        int opcode = f[0] & 15;
        used += head + n;
        char *payload = (char *)f + head;
        if (opcode == 9) put_frame(w, 10, payload, n);
        else if (opcode == 8) {
            if (!s->closing) fail("%s: the server closes: %d %.*s", s->dialect->name, n > 1 ? (unsigned char)payload[0] << 8 | (unsigned char)payload[1] : 0, n > 2 ? (int)n - 2 : 0, payload + 2);
            if (s->closing == 2) { put_frame(w, 8, payload, n); write_dirty(); } /* the server closed first */
            s->closing = 3;
        } else if (!(f[0] & 0x80) || opcode == 0) fail("%s: a message in pieces", s->dialect->name);
        else if (opcode < 3 && !s->closing) s->dialect->frame(s, payload, n);
    }
    return used;
}

static void close_websocket(Session *s) {
    s->closing = 1;
    put_frame(&s->down, 8, "\x03\xe8", 2);
}

/* ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────── */

static Buffer made; /* the body or payload that is being put together */

static void request(Wire *w, const char *method, const char *path, const char *more, const char *body, size_t length, int streams) {
    if (w->fd < 0) dial(w);
    if (w->busy) fail("%s: a request was begun before the answer to the last", w->session->dialect->name);
    w->busy = 1;
    w->streams = streams;
    w->part = HEAD;
    empty(&w->body);
    say(&w->out, "%s %s%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nAccept: %s\r\n", method,
        w->session->path, path, port, port, more);
    if (*method == 'P') say(&w->out, "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n", length);
    put(&w->out, "\r\n", 2);
    put(&w->out, body, length);
    touch(w);
}

static const char *field(const char *head, const char *end, const char *name) {
    size_t n = strlen(name);
    for (const char *line = head; line < end;) {
        line = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!line) break;
        line += 2;
        if (!strncasecmp(line, name, n) && line[n] == ':') {
            line += n + 1;
            while (*line == ' ') line++;
            return line;
        }
    }
    return NULL;
}

static void give(Wire *w, int done) { /* hand on what there is of a body */
    Buffer *b = &w->body;
    if (done) w->busy = 0;
    if (!w->streams && !done) return;
    size_t used = w->session->dialect->body(w, b->at ? b->at + b->start : scratch, b->length - b->start, done);
    if (!done) b->start += used; /* else the next request has made it empty */
}

static void take_head(Wire *w, const char *at, const char *end) {
    Session *s = w->session;
    if (memcmp(at, "HTTP/1.", 7)) fail("%s: no HTTP answer: %.100s", s->dialect->name, at);
    w->status = atoi(at + 9);
    if (w->status != 200 && w->status != 204) fail("%s %s: status %.300s", s->dialect->name, w->session->path, at + 9);
    const char *length = field(at, end, "content-length"), *coding = field(at, end, "transfer-encoding"),
               *connection = field(at, end, "connection");
    w->closes = connection && !strncasecmp(connection, "close", 5);
    if (coding && !strncasecmp(coding, "chunked", 7)) w->part = CHUNK_SIZE;
    else if (length || w->status == 204) w->part = LENGTH, w->left = length ? strtoul(length, NULL, 10) : 0;
    else w->part = UNTIL_END;
}

static void finish(Wire *w) {
    w->part = HEAD;
    if (w->closes) { hang_up(w); }
    give(w, 1);
}

static size_t take_response(Wire *w, char *at, size_t length) {
    size_t used = 0;
    for (;;) {
        char *p = at + used, *end;
        size_t n = length - used;
        if (w->fd < 0) return length;
        switch (w->part) {
        case HEAD:
            if (!n || !w->busy) return used;
            end = memmem(p, n, "\r\n\r\n", 4);
            if (!end) return used;
            used += (size_t)(end - p) + 4;
            take_head(w, p, end + 2);
            if (w->part == LENGTH && !w->left) { finish(w); }
            break;
        case LENGTH:
        case CHUNK:
            if (!n) return used;
            if (n > w->left) n = w->left;
            put(&w->body, p, n);
            used += n;
            w->left -= n;
            if (!w->left && w->part == CHUNK) { w->part = CHUNK_END; }
            else if (!w->left) finish(w);
            break;
        case CHUNK_SIZE:
            end = memmem(p, n, "\r\n", 2);
            if (!end) { if (w->streams && w->body.length > w->body.start) give(w, 0); return used; }
            w->left = strtoul(p, NULL, 16);
            used += (size_t)(end - p) + 2;
            w->part = w->left ? CHUNK : TRAILER;
            break;
        case CHUNK_END:
            if (n < 2) return used;
            used += 2;
            w->part = CHUNK_SIZE;
            break;
        case TRAILER:
            end = memmem(p, n, "\r\n", 2);
            if (!end) return used;
            used += 2;
            if (end == p) finish(w);
            break;
        case UNTIL_END:
            put(&w->body, p, n);
            if (w->streams) give(w, 0);
            return used + n;
        }
    }
}

/* ── what comes back ───────────────────────────────────────────────────────────────────────────────────────────── */

static void enough(Session *s) { s->waiting++; s->dialect->flush(s); }

static void got(Session *s, const char *at, size_t length) {
    char expected[HEADER];
    if (length != size) fail("%s: a message of %zu bytes and not %zu: %.80s", s->dialect->name, length, size, at);
    if (memcmp(at + HEADER, filler, size - HEADER)) fail("%s: a message was changed: %.80s", s->dialect->name, at);
    progress++;
    if (at[0] == 'B') {
        header(expected, 'B', 0, s->next_publish);
        if (memcmp(at, expected, HEADER)) fail("%s: %.20s came, and %.20s was next", s->dialect->name, at, expected);
        if (mode != FANOUT) fail("%s: a broadcast where nobody published", s->dialect->name);
        groups[s->group].count++;
        if (!--publish_left[s->next_publish++ % RING]) {
            publish_left[(s->next_publish - 1) % RING] = total;
            sessions[0].publishes++;
            sessions[0].dialect->flush(&sessions[0]);
        }
        return;
    }
    header(expected, 'E', (uint32_t)s->index, s->heard);
    if (memcmp(at, expected, HEADER)) fail("%s: %.20s came, and %.20s was next", s->dialect->name, at, expected);
    s->heard++;
    if (!s->joined) {
        s->joined = 1;
        ready++;
    } else if (s->is_probe) {
        if (phase == MEASURE && probe_count < MAX_PROBES) probes[probe_count++] = now() - probe_sent;
    } else if (mode == ECHO_) {
        groups[s->group].count++;
        s->waiting++; /* flushed by whoever called */
    }
}

static void session_ready(Session *s) {
    if (s->ready) return;
    s->ready = 1;
    opening--;
    progress++;
    if (mode == OPENS && !s->is_probe) {
        if (!s->joined) s->joined = 1, ready++;
        s->dialect->close(s);
    } else if (mode == FANOUT || s->is_probe) enough(s); /* one echo shows that it has joined */
    else s->joined = 1, ready++;
}

static void session_over(Session *s) {
    groups[s->group].count++;
    progress++;
    hang_up(&s->down);
    s->closing = s->ready = s->step = 0;
    s->dialect->open(s);
}

/* ── dialect: a plain WebSocket ────────────────────────────────────────────────────────────────────────────────── */

static void raw_open(Session *s) { upgrade(s, s->path); }
static void raw_flush(Session *s) {
    for (empty(&made); put_next(&made, s); empty(&made)) put_frame(&s->down, 1, made.at, made.length);
}
static void raw_frame(Session *s, char *at, size_t length) {
    if (!at) { session_ready(s); return; }
    got(s, at, length);
    raw_flush(s);
}

/* ── dialect: SockJS ───────────────────────────────────────────────────────────────────────────────────────────── */

static void name_session(Session *s) {
    static unsigned turn;
    snprintf(s->sid, sizeof s->sid, "/%03d/b%xx%x", s->index % 1000, (unsigned)getpid(), turn++);
}

static void quoted(Session *s, const char *at, const char *end) { /* "one","two"] */
    while (at < end) {
        while (at < end && (*at == ' ' || *at == ',')) at++;
        if (at < end && *at == ']') return;
        if (at >= end || *at != '"' || (size_t)(end - at) < size + 2 || at[size + 1] != '"')
            fail("%s: not understood: %.100s", s->dialect->name, at);
        got(s, at + 1, size);
        at += size + 2;
    }
}

static int sockjs_frame(Session *s, char *at, size_t length) { /* tells whether this opened the session */
    if (!length || *at == 'h') return 0;
    if (*at == 'o') return 1;
    if (length < 3 || *at != 'a' || at[1] != '[') fail("%s: not understood: %.*s", s->dialect->name, length > 200 ? 200 : (int)length, at);
    quoted(s, at + 2, at + length);
    return 0;
}

static void put_quoted(Buffer *b, Session *s, int all) {
    put(b, "[", 1);
    do {
        put(b, "\"", 1);
        put_next(b, s);
        put(b, "\",", 2);
    } while (all && has_next(s));
    b->at[b->length - 1] = ']';
}

static void sockjs_ws_open(Session *s) {
    name_session(s);
    char path[300];
    snprintf(path, sizeof path, "%s%s/websocket", s->path, s->sid);
    upgrade(s, path);
}
static void sockjs_ws_flush(Session *s) {
    while (has_next(s)) {
        empty(&made);
        put_quoted(&made, s, 0);
        put_frame(&s->down, 1, made.at, made.length);
    }
}
static void sockjs_ws_frame(Session *s, char *at, size_t length) {
    if (!at) return;
    if (sockjs_frame(s, at, length)) session_ready(s);
    sockjs_ws_flush(s);
}

static void post(Wire *w, const char *tail, int streams) {
    char path[300];
    snprintf(path, sizeof path, "%s%s", w->session->sid, tail);
    request(w, "POST", path, "*/*", made.at, made.length, streams);
}

static void xhr_receive(Session *s) {
    empty(&made);
    reserve(&made, 1);
    if (s->dialect->name[3]) post(&s->down, "/xhr_streaming", 1);
    else post(&s->down, "/xhr", 0);
}
static void xhr_open(Session *s) { name_session(s); xhr_receive(s); }
static void xhr_flush(Session *s) {
    if (s->up.busy || !has_next(s)) return;
    empty(&made);
    put_quoted(&made, s, 1);
    post(&s->up, "/xhr_send", 0);
}
static size_t xhr_body(Wire *w, char *at, size_t length, int done) {
    Session *s = w->session;
    if (w == &s->up) {
        if (w->status != 204) fail("xhr_send: status %d", w->status);
        xhr_flush(s);
        return length;
    }
    size_t used = 0;
    int opened = 0;
    for (char *end; (end = memchr(at + used, '\n', length - used)); used = (size_t)(end - at) + 1)
        opened |= sockjs_frame(s, at + used, (size_t)(end - at) - used);
    if (done) xhr_receive(s);
    if (opened) session_ready(s);
    xhr_flush(s);
    return used;
}

/* ── dialect: Socket.IO on Engine.IO 4 ─────────────────────────────────────────────────────────────────────────── */

static void eio_text(Session *s, const char *text) {
    if (s->dialect->is_websocket) put_frame(&s->down, 1, text, strlen(text));
    else {
        empty(&made);
        put(&made, text, strlen(text));
        post(&s->up, "", 0);
    }
}
static void eio_packet(Session *s, char *at, size_t length) {
    if (length && *at == '0') {
        char *sid = memmem(at, length, "\"sid\":\"", 7);
        if (!sid || sscanf(sid + 7, "%80[^\"]", s->key) != 1) fail("%s: no sid in %.200s", s->dialect->name, at);
        snprintf(s->sid, sizeof s->sid, "?EIO=4&transport=polling&sid=%.60s", s->key);
        eio_text(s, "40");
    } else if (length && *at == '2') s->step |= 2; /* ping */
    else if (length && *at == '6') return;
    else if (length > 1 && !memcmp(at, "40", 2)) s->step |= 1;
    else if (length > 8 && !memcmp(at, "42[\"m\",", 7)) quoted(s, at + 7, at + length);
    else fail("%s: not understood: %.*s", s->dialect->name, length > 200 ? 200 : (int)length, at);
}
static void put_event(Buffer *b, Session *s) {
    put(b, "42[\"m\",\"", 8);
    put_next(b, s);
    put(b, "\"]", 2);
}
static void eio_ws_open(Session *s) {
    char path[300];
    snprintf(path, sizeof path, "%s?EIO=4&transport=websocket", s->path);
    upgrade(s, path);
}
static void eio_ws_flush(Session *s) {
    while (has_next(s)) {
        empty(&made);
        put_event(&made, s);
        put_frame(&s->down, 1, made.at, made.length);
    }
}
static void eio_ws_frame(Session *s, char *at, size_t length) {
    if (!at) return;
    eio_packet(s, at, length);
    if (s->step & 2) { s->step &= ~2; eio_text(s, "3"); }
    if (s->step & 1) session_ready(s);
    eio_ws_flush(s);
}
static void eio_poll(Session *s) { request(&s->down, "GET", s->sid, "*/*", "", 0, 0); }
static void eio_poll_open(Session *s) {
    strcpy(s->sid, "?EIO=4&transport=polling");
    eio_poll(s);
}
static void eio_poll_flush(Session *s) {
    if (s->up.busy) return;
    if (s->step & 2) { s->step &= ~2; eio_text(s, "3"); return; }
    if (!has_next(s)) return;
    empty(&made);
    while (has_next(s)) {
        if (made.length) put(&made, "\x1e", 1);
        put_event(&made, s);
    }
    post(&s->up, "", 0);
}
static size_t eio_poll_body(Wire *w, char *at, size_t length, int done) {
    Session *s = w->session;
    (void)done;
    if (w == &s->up) {
        if (length != 2 || strncasecmp(at, "ok", 2)) fail("eio-poll: not ok but %.*s", (int)length, at);
        if (!s->down.busy) eio_poll(s); /* only now, so that a poll never overtakes the connect packet */
        eio_poll_flush(s);
        return length;
    }
    for (char *p = at, *end; p < at + length; p = end + 1) {
        end = memchr(p, 0x1e, (size_t)(at + length - p));
        if (!end) end = at + length;
        eio_packet(s, p, (size_t)(end - p));
    }
    if (s->step & 1 || !s->up.busy) eio_poll(s);
    if (s->step & 1) session_ready(s);
    eio_poll_flush(s);
    return length;
}

/* ── dialect: hybridws ─────────────────────────────────────────────────────────────────────────────────────────── */

static int native_line(Session *s, char *at, size_t length) { /* tells whether a numbered packet came */
    if (length < 5 || at[0] != '[' || at[1] != '"' || at[3] != '"') fail("%s: not understood: %.*s", s->dialect->name, length > 200 ? 200 : (int)length, at);
    switch (at[2]) {
    case 'm':
        if (length != size + 8 || memcmp(at, "[\"m\",\"", 6) || memcmp(at + length - 2, "\"]", 2))
            fail("%s: not understood: %.*s", s->dialect->name, length > 200 ? 200 : (int)length, at);
        if (!s->lane) fail("%s: a message before its position", s->dialect->name);
        if (s->lane++ <= s->received) return 0; /* a repeat */
        if (s->lane != s->received + 2) fail("%s: number %lu skips ahead of %lu", s->dialect->name, s->lane - 1, s->received + 1);
        s->received++;
        got(s, at + 6, size);
        return 1;
    case '#':
        s->lane = strtoul(at + 5, NULL, 10);
        if (!s->lane || s->lane > s->received + 1) fail("%s: position %lu, and %lu was next", s->dialect->name, s->lane, s->received + 1);
        return 0;
    case 'a':
        if (strtoul(at + 5, NULL, 10) > s->numbered) fail("%s: an ack of more than was said", s->dialect->name);
        return 0;
    case 'h': s->step |= 2; return 0;
    default: fail("%s: %.*s", s->dialect->name, length > 300 ? 300 : (int)length, at);
    }
}
static void native_lines(Session *s, char *at, size_t length) {
    for (char *p = at, *end, *stop = at + length; p < stop; p = end + 1) {
        end = memchr(p, '\n', (size_t)(stop - p));
        if (!end) end = stop;
        if (end > p) native_line(s, p, (size_t)(end - p));
    }
}
static void put_number(Buffer *b, const char *before, uint64_t number) { /* quicker than printf */
    char digits[24], *at = digits + sizeof digits;
    *--at = ']';
    do *--at = (char)('0' + number % 10); while (number /= 10);
    put(b, before, strlen(before));
    put(b, at, (size_t)(digits + sizeof digits - at));
}
static void put_word(Buffer *b, Session *s) {
    put(b, "[\"m\",\"", 6);
    put_next(b, s);
    put(b, "\"]", 2);
    s->numbered++;
}
static void native_ws_open(Session *s) {
    char path[300];
    s->numbered = s->received = s->lane = s->acked = 0;
    s->placed = 0;
    snprintf(path, sizeof path, "%s/v1/websocket", s->path);
    upgrade(s, path);
}
enum { ACK_EVERY = 32 };
static void native_ws_flush(Session *s) {
    /* As a client must: an ack rides on what is said, and goes alone after 32 packets or (see main) a second at most. */
    while (has_next(s) || s->received >= s->acked + ACK_EVERY || s->step & 2) {
        empty(&made);
        if (s->received > s->acked || s->step & 2) put_number(&made, "[\"a\",", s->acked = s->received);
        s->step &= ~2;
        if (has_next(s)) {
            if (made.length) put(&made, "\n", 1);
            if (!s->placed) put(&made, "[\"#\",1]\n", 8), s->placed = 1;
            put_word(&made, s);
        }
        put_frame(&s->down, 1, made.at, made.length);
    }
}
static void native_ws_frame(Session *s, char *at, size_t length) {
    if (!at) { put_frame(&s->down, 1, "[\"i\",{\"v\":1}]", 13); return; }
    if (!s->ready && length > 4 && !memcmp(at, "[\"o\",", 5)) { session_ready(s); return; }
    native_lines(s, at, length);
    native_ws_flush(s);
}
static void native_ws_close(Session *s) {
    s->closing = 2;
    put_frame(&s->down, 1, "[\"#\",1]\n[\"c\",1000,\"\"]", 21);
}
static void put_attach(Session *s, uint64_t n) {
    empty(&made);
    put(&made, "[\"@\",", 5);
    put(&made, "\"", 1), put(&made, s->sid + 4, strlen(s->sid) - 4), put(&made, "\",\"", 3);
    put(&made, s->key, strlen(s->key)), put(&made, "\",", 2);
    char number[48];
    put(&made, number, (size_t)sprintf(number, "%lu,%lu]", n, s->acked = s->received));
}
static void put_words(Session *s) {
    if (!has_next(s)) return;
    put_number(&made, "\n[\"#\",", s->numbered + 1);
    while (has_next(s)) {
        put(&made, "\n", 1);
        put_word(&made, s);
    }
}
static void native_http_open(Session *s) {
    strcpy(s->sid, "/v1/open");
    s->numbered = s->received = s->lane = s->acked = s->attach = 0;
    empty(&made);
    put(&made, "[\"i\",{\"v\":1}]\n", 14);
    post(&s->down, "", 0);
}
static size_t native_opened(Session *s, char *at, size_t length) {
    char *end = memchr(at, '\n', length), *sid, *key;
    if (!end) end = at + length;
    sid = memmem(at, (size_t)(end - at), "\"sid\":\"", 7), key = memmem(at, (size_t)(end - at), "\"key\":\"", 7);
    if (memcmp(at, "[\"o\",", 5) || !sid || !key) fail("%s: no session: %.300s", s->dialect->name, at);
    strcpy(s->sid, "/v1/");
    if (sscanf(sid + 7, "%80[^\"]", s->sid + 4) != 1 || sscanf(key + 7, "%90[^\"]", s->key) != 1) fail("no sid or key");
    if (end < at + length) native_lines(s, end + 1, (size_t)(at + length - end) - 1);
    return length;
}
static void native_poll(Session *s) {
    s->lane = 0;
    put_attach(s, ++s->attach);
    put_words(s);
    post(&s->down, "/poll", 0);
}
static void native_poll_flush(Session *s) {
    if (!s->down.busy) native_poll(s);
    else if (!s->up.busy && has_next(s)) { /* a poll is parked: this one takes its place, as a client's send does */
        put_attach(s, 0);
        put_words(s);
        post(&s->up, "/send", 0);
    }
}
static size_t native_poll_body(Wire *w, char *at, size_t length, int done) {
    Session *s = w->session;
    (void)done;
    if (w == &s->up) {
        if (length < 4 || memcmp(at, "[\"a\"", 4)) fail("native-poll: a send was answered with %.*s", (int)length, at);
        if (has_next(s)) native_poll_flush(s);
        return length;
    }
    if (!s->attach) {
        native_opened(s, at, length);
        if (mode != ECHO_ || s->is_probe) native_poll(s); /* parked; an echo's first poll brings its messages */
        session_ready(s);
        return length;
    }
    s->lane = 0;
    native_lines(s, at, length);
    s->step = 0;
    if (!s->down.busy) native_poll(s);
    return length;
}
static void native_stream(Session *s) {
    s->lane = 0;
    put_attach(s, ++s->attach);
    char path[300];
    snprintf(path, sizeof path, "%s/stream", s->sid);
    request(&s->down, "POST", path, "text/event-stream", made.at, made.length, 1);
}
static void native_stream_flush(Session *s) {
    if (s->up.busy || !(has_next(s) || s->step & 2 || s->received >= s->acked + ACK_EVERY)) return;
    s->step &= ~2;
    put_attach(s, 0);
    put_words(s);
    post(&s->up, "/send", 0);
}
static size_t native_stream_body(Wire *w, char *at, size_t length, int done) {
    Session *s = w->session;
    if (w == &s->up) {
        if (length < 4 || memcmp(at, "[\"a\"", 4)) fail("native-stream: a send was answered with %.*s", (int)length, at);
        native_stream_flush(s);
        return length;
    }
    if (!s->attach) {
        native_opened(s, at, length);
        native_stream(s);
        return length;
    }
    size_t used = 0;
    for (char *end; (end = memchr(at + used, '\n', length - used)); used = (size_t)(end - at) + 1) {
        char *line = at + used;
        size_t n = (size_t)(end - line);
        if (n > 6 && !memcmp(line, "data: ", 6)) native_line(s, line + 6, n - 6);
        else if (n && *line != ':') fail("native-stream: not understood: %.*s", n > 200 ? 200 : (int)n, line);
    }
    if (done) native_stream(s);
    if (s->lane) session_ready(s); /* its position has come: it flows */
    native_stream_flush(s);
    return used;
}

static const Dialect DIALECTS[] = {
    {"raw", 1, raw_open, raw_frame, NULL, raw_flush, close_websocket},
    {"native-ws", 1, native_ws_open, native_ws_frame, NULL, native_ws_flush, native_ws_close},
    {"native-poll", 0, native_http_open, NULL, native_poll_body, native_poll_flush, NULL},
    {"native-stream", 0, native_http_open, NULL, native_stream_body, native_stream_flush, NULL},
    {"sockjs-ws", 1, sockjs_ws_open, sockjs_ws_frame, NULL, sockjs_ws_flush, close_websocket},
    {"xhr", 0, xhr_open, NULL, xhr_body, xhr_flush, NULL},
    {"xhr-streaming", 0, xhr_open, NULL, xhr_body, xhr_flush, NULL},
    {"eio-ws", 1, eio_ws_open, eio_ws_frame, NULL, eio_ws_flush, close_websocket},
    {"eio-poll", 0, eio_poll_open, NULL, eio_poll_body, eio_poll_flush, NULL},
};

/* ── the loop ──────────────────────────────────────────────────────────────────────────────────────────────────── */

static void ended(Wire *w, const char *how) {
    Session *s = w->session;
    if (w->is_websocket) {
        if (s->closing) session_over(s);
        else fail("%s: a WebSocket broke: %s", s->dialect->name, how);
    } else if (w->busy && w->part == UNTIL_END) {
        hang_up(w);
        finish(w);
    } else if (w->busy) fail("%s: the connection broke before the answer: %s", s->dialect->name, how);
    else hang_up(w);
}

static void take(Wire *w) {
    Buffer *b = &w->in;
    for (;;) {
        size_t kept = b->length - b->start;
        char *at = scratch;
        size_t room = ROOM - 1;
        if (kept) at = reserve(b, ROOM / 4 + 1), room = ROOM / 4;
        ssize_t n = recv(w->fd, at, room, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) { ended(w, n ? strerror(errno) : "the server hung up"); return; }
        size_t length = (size_t)n;
        at[length] = 0;
        if (kept) b->length += length, at = b->at + b->start, length = b->length - b->start;
        size_t used = w->is_websocket ? take_frames(w, at, length) : take_response(w, at, length);
        if (w->fd < 0) { empty(b); return; }
        if (kept) b->start += used;
        else if (used < length) empty(b), put(b, at + used, length - used);
        if ((size_t)n < room) return;
    }
}

static double server_seconds(void) { /* user and system time of the server's processes */
    double sum = 0;
    char list[400];
    snprintf(list, sizeof list, "%s", pids);
    for (char *pid = strtok(list, ","); pid; pid = strtok(NULL, ",")) {
        char path[64], line[1024];
        snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        size_t n = fread(line, 1, sizeof line - 1, file);
        fclose(file);
        line[n] = 0;
        unsigned long user = 0, system = 0;
        char *at = strrchr(line, ')');
        if (at) sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
        sum += (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    }
    return sum;
}

static double own_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double server_before, own_before;
static uint64_t count_before[MAX_GROUPS];

static void begin(void) {
    phase = MEASURE;
    server_before = server_seconds(), own_before = own_seconds();
    began = now();
    for (int i = 0; i < group_count; i++) count_before[i] = groups[i].count;
}

static void report(void) {
    double took = (double)(now() - began) / 1e6, server = server_seconds() - server_before, own = own_seconds() - own_before;
    counted = 0;
    for (int i = 0; i < group_count; i++) counted += groups[i].count - count_before[i];
    qsort(probes, (size_t)probe_count, sizeof *probes, by_size);
    printf("{\"messages\": %lu, \"seconds\": %.6f, \"server_cpu\": %.3f, \"own_cpu\": %.3f, \"sessions\": %d, \"groups\": [",
           counted, took, server, own, total - (wants_probe != 0));
    for (int i = 0; i < group_count; i++) printf("%s%lu", i ? ", " : "", groups[i].count - count_before[i]);
    printf("], \"probes\": %d, \"probe_p50\": %.3f, \"probe_p99\": %.3f}\n", probe_count,
           probe_count ? (double)probes[probe_count / 2] / 1e3 : 0.0,
           probe_count ? (double)probes[probe_count * 99 / 100] / 1e3 : 0.0);
    fflush(stdout);
}

static void open_more(void) {
    while (next_open < total && opening < OPENING_AT_ONCE) {
        opening++;
        Session *s = &sessions[next_open++];
        s->dialect->open(s);
    }
}

static void read_group(char *text) {
    Group *g = &groups[group_count++];
    char *path = strchr(text, ':'), *count = path ? strrchr(path + 1, ':') : NULL;
    if (!count || group_count > MAX_GROUPS) fail("--group is DIALECT:PATH:SESSIONS, not %s", text);
    *path++ = *count++ = 0;
    g->path = path, g->sessions = atoi(count);
    for (size_t i = 0; i < sizeof DIALECTS / sizeof *DIALECTS; i++)
        if (!strcmp(DIALECTS[i].name, text)) g->dialect = &DIALECTS[i];
    if (!g->dialect) fail("there is no dialect %s", text);
}

static void read_arguments(int count, char **words) {
    for (int i = 1; i < count; i++) {
        const char *name = words[i];
        if (!strcmp(name, "--no-probe")) { wants_probe = 0; continue; }
        if (++i == count) fail("%s needs a value", name);
        if (!strcmp(name, "--port")) port = atoi(words[i]);
        else if (!strcmp(name, "--mode")) mode_name = words[i];
        else if (!strcmp(name, "--group")) read_group(words[i]);
        else if (!strcmp(name, "--outstanding")) outstanding = atoi(words[i]);
        else if (!strcmp(name, "--size")) size = strtoul(words[i], NULL, 10);
        else if (!strcmp(name, "--seconds")) seconds = atof(words[i]);
        else if (!strcmp(name, "--warm")) warm = atof(words[i]);
        else if (!strcmp(name, "--pids")) pids = words[i];
        else fail("there is no option %s", name);
    }
    const char *names[] = {"echo", "fanout", "idle", "opens"};
    for (int i = 0; i < 4 && mode_name; i++) if (!strcmp(names[i], mode_name)) mode = i, mode_name = NULL;
    if (mode_name) fail("there is no mode %s", mode_name);
    if (!group_count || size < HEADER) fail("a --group is needed, and a --size of at least %d", HEADER);
    if (mode == IDLE) wants_probe = 0;
}

static void make_sessions(void) {
    for (int i = 0; i < group_count; i++) total += groups[i].sessions;
    total += wants_probe;
    sessions = calloc((size_t)total, sizeof *sessions);
    probes = calloc(MAX_PROBES, sizeof *probes);
    filler = malloc(size);
    if (!sessions || !probes || !filler) fail("out of memory");
    memset(filler, 'x', size);
    int n = 0;
    for (int g = 0; g < group_count; g++)
        for (int i = 0; i < groups[g].sessions; i++) sessions[n++].group = g;
    for (int i = 0; i < total; i++) {
        Session *s = &sessions[i];
        s->is_probe = wants_probe && i == total - 1;
        s->dialect = groups[s->group].dialect, s->path = groups[s->group].path;
        s->index = i;
        s->down.fd = s->up.fd = -1;
        s->down.session = s->up.session = s;
    }
    for (int i = 0; i < RING; i++) publish_left[i] = total;
}

static void start_load(void) {
    phase = WARM_UP;
    began = now();
    for (int i = 0; i < total; i++) {
        Session *s = &sessions[i];
        if (s->is_probe || mode == OPENS) continue;
        if (mode == ECHO_) s->waiting = outstanding;
        else if (i == 0) s->publishes = outstanding;
        if (has_next(s)) s->dialect->flush(s);
        write_dirty();
    }
}

enum { ACKS_EVERY = 10000 }; /* microseconds between two looks for acks that are due */
static void send_acks(uint64_t t) { /* of native WebSockets that hear and say nothing; each waits for 0.5 to 1 s, as our clients do */
    for (int i = 0; i < total; i++) {
        Session *s = &sessions[i];
        if (!s->ready || s->closing || s->dialect->frame != native_ws_frame) continue;
        if (s->received <= s->acked) s->ack_at = 0;
        else if (!s->ack_at) s->ack_at = t + 500000 + (uint64_t)(rand() % 500000);
        else if (t >= s->ack_at) {
            s->ack_at = 0;
            empty(&made);
            put_number(&made, "[\"a\",", s->acked = s->received);
            put_frame(&s->down, 1, made.at, made.length);
            write_dirty();
        }
    }
}

int main(int count, char **words) {
    read_arguments(count, words);
    poller = epoll_create1(EPOLL_CLOEXEC);
    make_sessions();
    if (mode == IDLE) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
        epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e);
    }
    struct epoll_event events[EVENTS];
    uint64_t last_acks = last_progress = now(), seen = 0;
    Session *probe = wants_probe ? &sessions[total - 1] : NULL;
    open_more();
    for (int told = 0;;) {
        int n = epoll_wait(poller, events, EVENTS, 2);
        for (int i = 0; i < n; i++) {
            Wire *w = events[i].data.ptr;
            if (!w) { char byte; if (read(0, &byte, 1) <= 0) exit(0); continue; }
            if (w->fd < 0) continue;
            if (events[i].events & EPOLLOUT) { arm(w, 0); write_out(w); }
            if (w->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(w);
            write_dirty();
        }
        uint64_t t = now();
        if (phase == OPEN_ALL) {
            open_more();
            if (ready == total && !told) {
                if (mode == IDLE) { printf("{\"ready\": %d}\n", total); fflush(stdout); told = 1; }
                else start_load();
            }
        } else if (phase == WARM_UP && t - began >= (uint64_t)(warm * 1e6)) begin();
        else if (phase == MEASURE && t - began >= (uint64_t)(seconds * 1e6)) { report(); return 0; }
        if (probe && phase != OPEN_ALL && t - probe_sent >= PROBE_EVERY && probe->heard == probe->said) {
            probe_sent = t;
            enough(probe);
            write_dirty();
        }
        if (t - last_acks >= ACKS_EVERY) { send_acks(t); last_acks = t; }
        if (progress != seen) seen = progress, last_progress = t;
        else if (!told && t - last_progress > STALLED_AFTER)
            fail("nothing has come for 10 s; %d of %d sessions are open", ready, total);
    }
}
