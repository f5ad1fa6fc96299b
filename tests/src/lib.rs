//! System tests: the harness that starts the real server.
