// Package wire reads and writes the messages of TLS 1.3 (RFC 8446) and TLS 1.2
// (RFC 5246), and names their code points. It knows nothing of states, keys or
// trust: what it returns is well formed, and no more.
//
// Slices that a parser returns share memory with its input.
package wire
