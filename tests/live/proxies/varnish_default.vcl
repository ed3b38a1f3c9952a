# Varnish with its built-in VCL alone: a POST passes, an Upgrade does not.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8080";
}
