# Varnish in front of one process of hybridws. The application listens on 8080; start Varnish with -a 127.0.0.1:8000.
# The application believes what Varnish says of the client: mount(..., trusted_proxies=["127.0.0.1"]).

vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
    # More than poll_timeout (25 s) and heartbeat (20 s).
    .first_byte_timeout = 75s;
    .between_bytes_timeout = 75s;
}

sub vcl_recv {
    # Who asks for what, besides X-Forwarded-For, which Varnish adds; nothing of the kind is taken from the client.
    set req.http.X-Forwarded-Proto = "http";
    set req.http.X-Forwarded-Host = req.http.Host;
    unset req.http.Forwarded;

    # WebSocket: without this the client stays on the stream.
    if (req.http.Upgrade ~ "(?i)websocket") {
        return (pipe);
    }
    # Sessions are nobody else's: nothing to look up, and no request waits for another's answer.
    if (req.url ~ "^/chat(/|$)") {
        return (pass);
    }
}

sub vcl_pipe {
    # Hop-by-hop headers pass only by hand.
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "Upgrade";
    }
}
