"""DNS of a sandbox: records and answers (pure, bytes in, bytes out); `server*` modules do sockets and forwarding."""
